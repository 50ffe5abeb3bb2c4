//! The rows of products whose codes an organisation chose itself.

use kernel::{Db, DbError, Write, args};

use crate::chat::products::Product;

/// Own products of an organisation that are listed.
const MAX_PRODUCTS: i64 = 1_000;

kernel::statements! {
    CODE = "select code from chat_product where org = $1 and name = $2";
    OWN = "select name, code, flow from chat_product where org = $1 order by name limit $2";
    SET = "insert into chat_product (org, name, code) values ($1, $2, $3) \
        on conflict (org, name) do update set code = excluded.code";
}

/// The code that an organisation gave a product.
pub(in crate::chat) async fn own_code(db: &Db, org: &str, name: &str) -> Result<Option<i64>, DbError> {
    db.one(CODE, args![org, name]).await?.map(|row| row.int("code")).transpose()
}

/// The products that an organisation gave codes to, by name.
pub(in crate::chat) async fn own_products(db: &Db, org: &str) -> Result<Vec<Product>, DbError> {
    let rows = db.all(OWN, args![org, MAX_PRODUCTS]).await?;
    let read = |row: &kernel::Row| {
        Ok(Product { name: row.text("name")?, code: row.int("code")?, flow: row.opt_text("flow")? })
    };
    rows.iter().map(read).collect()
}

/// Gives a product a code.
pub(in crate::chat) fn set_product_write(org: &str, name: &str, code: i64) -> Write {
    Write::new(SET, args![org, name, code])
}
