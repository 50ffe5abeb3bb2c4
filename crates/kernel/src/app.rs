//! Applications: servers and pages of a customer that use the API in the organisation's name.
//!
//! Invariant: a secret key is shown once and stored as a hash; the publishable key is public and stored as it is.

use std::collections::BTreeMap;

use crate::args;
use crate::credential::{PUBLISHABLE_KEY, read_scopes};
use crate::db::{Row, Write};
use crate::kernel::Kernel;
use crate::record::{RecordError, check_name};
use crate::role::Scope;
use crate::secret::Secret;

/// Settings of one application.
const MAX_SETTINGS: usize = 100;
/// Longest name of a setting, in bytes.
const MAX_SETTING_NAME: usize = 64;
/// Longest value of a setting, in bytes.
const MAX_SETTING_VALUE: usize = 2_048;

crate::statements! {
    INSERT = "insert into app (id, org, name, scopes, publishable_key, settings, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    BY_ID = "select id, org, name, scopes, publishable_key, settings, version, created_at from app \
        where org = $1 and id = $2 and disabled_at is null";
    LIST = "select id, org, name, scopes, publishable_key, settings, version, created_at from app \
        where org = $1 and id > $2 and disabled_at is null order by id limit $3";
    OWNER = "select org from app where id = $1 and disabled_at is null";
    DISABLE = "update app set disabled_at = $3, version = version + 1 \
        where org = $1 and id = $2 and disabled_at is null";
    SET_SETTINGS = "update app set settings = $4, version = version + 1 where org = $1 and id = $2 and version = $3";
}

/// One application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct App {
    /// `app_...`
    pub id: String,
    /// The organisation.
    pub org: String,
    /// Name for people.
    pub name: String,
    /// Empty = everything of the organisation.
    pub scopes: Vec<Scope>,
    /// `pk_...`; for pages in a browser.
    pub publishable_key: String,
    /// What desks read by name.
    pub settings: BTreeMap<String, String>,
    /// For guarded changes.
    pub version: i64,
    /// UTC milliseconds.
    pub created_at: i64,
}

/// What is needed to make an application.
#[derive(Debug, Clone, Default)]
pub struct NewApp {
    /// Name for people.
    pub name: String,
    /// Empty = everything of the organisation.
    pub scopes: Vec<Scope>,
    /// Names and values.
    pub settings: Vec<(String, String)>,
}

impl Kernel {
    /// Makes an application: itself and its secret key, shown once.
    ///
    /// # Errors
    /// A field that is refused.
    pub async fn create_app(&self, org: &str, new: NewApp) -> Result<(App, Secret), RecordError> {
        let now_ms = self.clock.now_ms();
        let mut settings = BTreeMap::new();
        merge(&mut settings, new.settings)?;
        let mut scopes = new.scopes;
        scopes.sort_unstable();
        scopes.dedup();
        let app = App {
            id: self.ids.new("app", now_ms),
            org: org.to_owned(),
            name: check_name(&new.name)?,
            scopes,
            publishable_key: format!("{PUBLISHABLE_KEY}{}", self.ids.token()),
            settings,
            version: 1,
            created_at: now_ms,
        };
        let scopes: Vec<&str> = app.scopes.iter().map(|scope| scope.as_str()).collect();
        let insert = Write::new(
            INSERT,
            args![
                &app.id,
                org,
                &app.name,
                &serde_json::Value::from(scopes),
                &app.publishable_key,
                to_json(&app.settings),
                now_ms
            ],
        );
        let (key, key_write) = self.draft_app_key(org, &app.id);
        self.db.writer().commit(vec![insert, key_write]).await?;
        Ok((app, key))
    }

    /// One more secret key, for rotation: the old one stays good until it is revoked. Shown once.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such application.
    pub async fn create_app_key(&self, org: &str, app: &str) -> Result<Secret, RecordError> {
        self.app(org, app).await?;
        let (key, write) = self.draft_app_key(org, app);
        self.db.writer().commit(vec![write]).await?;
        Ok(key)
    }

    /// One application of the organisation.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when it has none of this id.
    pub async fn app(&self, org: &str, id: &str) -> Result<App, RecordError> {
        let row = self.db.one(BY_ID, args![org, id]).await?;
        row.as_ref().map(read).transpose()?.ok_or_else(|| RecordError::not_found("application", id))
    }

    /// The applications of the organisation in the order of their ids, from after `after` (`""` = from the start).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn apps(&self, org: &str, after: &str, limit: i64) -> Result<Vec<App>, RecordError> {
        let rows = self.db.all(LIST, args![org, after, limit]).await?;
        rows.iter().map(read).collect()
    }

    /// The organisation of an application, for the operator's command line, which names applications by id alone.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when there is none.
    pub async fn org_of_app(&self, id: &str) -> Result<String, RecordError> {
        let row = self.db.one(OWNER, args![id]).await?;
        let row = row.ok_or_else(|| RecordError::not_found("application", id))?;
        Ok(row.text("org")?)
    }

    /// Ends an application: none of its keys is good any more, at once on this node.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such application.
    pub async fn disable_app(&self, org: &str, id: &str) -> Result<(), RecordError> {
        self.revoke(DISABLE, args![org, id, self.clock.now_ms()], "application", id).await
    }

    /// Sets settings by name; an empty value removes one.
    ///
    /// # Errors
    /// A name or value that is refused, an application that is not there, or a change in the same moment.
    pub async fn set_app(&self, org: &str, id: &str, changes: Vec<(String, String)>) -> Result<App, RecordError> {
        let mut app = self.app(org, id).await?;
        merge(&mut app.settings, changes)?;
        let args = args![org, id, app.version, to_json(&app.settings)];
        if self.db.run(SET_SETTINGS, args).await? == 0 {
            return Err(RecordError::Conflict);
        }
        app.version += 1;
        Ok(app)
    }
}

fn merge(settings: &mut BTreeMap<String, String>, changes: Vec<(String, String)>) -> Result<(), RecordError> {
    for (name, value) in changes {
        let good_name = (1..=MAX_SETTING_NAME).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.'));
        if !good_name {
            return Err(RecordError::invalid(
                "settings",
                format!("\"{name}\" is not a name of small letters, digits, _ and ."),
            ));
        }
        if value.len() > MAX_SETTING_VALUE || value.chars().any(char::is_control) {
            return Err(RecordError::invalid(
                "settings",
                format!("{name}: one line of at most {MAX_SETTING_VALUE} bytes"),
            ));
        }
        if value.is_empty() {
            settings.remove(&name);
        } else {
            settings.insert(name, value);
        }
    }
    if settings.len() > MAX_SETTINGS {
        return Err(RecordError::invalid("settings", format!("at most {MAX_SETTINGS}")));
    }
    Ok(())
}

fn to_json(settings: &BTreeMap<String, String>) -> String {
    let object: serde_json::Map<_, _> =
        settings.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect();
    serde_json::Value::Object(object).to_string()
}

fn read(row: &Row) -> Result<App, RecordError> {
    Ok(App {
        id: row.text("id")?,
        org: row.text("org")?,
        name: row.text("name")?,
        scopes: read_scopes(row)?,
        publishable_key: row.text("publishable_key")?,
        settings: row.json("settings")?,
        version: row.int("version")?,
        created_at: row.int("created_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use crate::org::NewOrg;
    use crate::principal::Principal;

    #[tokio::test]
    async fn keys_open_rotate_and_are_revoked() {
        for kernel in testing::each().await {
            let org = kernel.create_org(NewOrg { name: "dev".into(), ..NewOrg::default() }).await.unwrap();
            let new = NewApp {
                name: "Shop".into(),
                scopes: vec![Scope::Meetings, Scope::Flows, Scope::Flows],
                settings: vec![("caller_id".into(), "+442071838750".into())],
            };
            let (app, first) = kernel.create_app(&org.id, new).await.unwrap();
            assert_eq!(app.scopes, [Scope::Flows, Scope::Meetings]);
            assert_eq!(kernel.app(&org.id, &app.id).await.unwrap(), app);
            assert_eq!(kernel.org_of_app(&app.id).await.unwrap(), org.id);

            let second = kernel.create_app_key(&org.id, &app.id).await.unwrap();
            for key in [&first, &second] {
                let who = kernel.authenticate(key.expose()).await.unwrap().unwrap().principal;
                let Principal::App { app: id, scopes, .. } = who else { panic!("an application") };
                assert_eq!((id.as_ref(), scopes.as_ref()), (app.id.as_str(), &app.scopes[..]));
            }
            let keys = kernel.app_keys(&org.id, &app.id).await.unwrap();
            assert_eq!(keys.len(), 2);
            let first_id = kernel.authenticate(first.expose()).await.unwrap().unwrap().id;
            kernel.revoke_app_key(&org.id, &first_id).await.unwrap();
            assert!(kernel.authenticate(first.expose()).await.unwrap().is_none());
            assert!(kernel.authenticate(second.expose()).await.unwrap().is_some());
            assert!(kernel.revoke_app_key("org_other", &keys[1].id).await.is_err());

            let who = kernel.authenticate(&app.publishable_key).await.unwrap().unwrap().principal;
            assert!(matches!(who, Principal::Publishable { .. }));
        }
    }

    #[tokio::test]
    async fn settings_are_set_changed_and_removed() {
        for kernel in testing::each().await {
            let org = kernel.create_org(NewOrg { name: "dev".into(), ..NewOrg::default() }).await.unwrap();
            let (app, _) =
                kernel.create_app(&org.id, NewApp { name: "Shop".into(), ..NewApp::default() }).await.unwrap();
            let set = async |pairs: &[(&str, &str)]| {
                let pairs = pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
                kernel.set_app(&org.id, &app.id, pairs).await
            };
            set(&[("a", "1"), ("b", "x=\"y\"")]).await.unwrap();
            set(&[("a", ""), ("c.d", "3")]).await.unwrap();
            let settings = kernel.app(&org.id, &app.id).await.unwrap().settings;
            assert_eq!(serde_json::to_string(&settings).unwrap(), r#"{"b":"x=\"y\"","c.d":"3"}"#);
            assert!(set(&[("A", "1")]).await.is_err() && set(&[("a", "1\n2")]).await.is_err());
            assert!(kernel.app("org_other", &app.id).await.is_err());
        }
    }
}
