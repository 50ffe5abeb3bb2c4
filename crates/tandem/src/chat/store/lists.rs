//! Lists of rooms: a statement for each question that is asked often, so that none of them reads the whole organisation.
//!
//! Invariant: every list walks an index, and reads the last message of those rooms alone that it shows. All statements
//! take the same twelve values, those of a tag one more; the column that leads the index is compared outright, the others if they are asked for.

use kernel::{Db, DbError, args};

use super::{RoomFilter, RoomOrder, RoomPage, read_room};
use crate::chat::model::{Id, Room, State};

/// A list of rooms: which ones, in which order, by the words of a statement.
macro_rules! rooms {
    ($which:literal, $order:literal) => {
        concat!(
            "select r.id, r.app, r.product, r.user_id, r.label, r.portfolio, r.event_id, r.is_login, r.state, r.visitor, \
            r.assignee, r.team, r.seq_head, r.created_at, r.last_at, r.closed_at, r.revision, m.body as last_body \
            from chat_room r left join chat_message m on m.org = r.org and m.room = r.id and m.seq = r.seq_head \
            where r.org = $1 and r.id in (select x.id from chat_room x where x.org = $1 \
            and (x.app = $2 or $2 is null) and (x.assignee is null or $8 = '') and (x.team = $9 or $9 is null) and ",
            $which,
            ") order by ",
            $order
        )
    };
}

kernel::statements! {
    BY_AGE = rooms!("(x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) and (x.product = $5 or $5 is null) \
        and (x.visitor = $6 or $6 is null) and (x.assignee = $7 or $7 is null) and x.created_at >= $10 \
        and (x.created_at > $10 or x.id > $11) order by x.created_at, x.id limit $12", "r.created_at + 0, r.id");
    OF_LABEL_BY_AGE = rooms!("(x.state = $3 or $3 is null) and x.label = $4 and x.product = $5 \
        and (x.visitor = $6 or $6 is null) and (x.assignee = $7 or $7 is null) and x.created_at >= $10 \
        and (x.created_at > $10 or x.id > $11) order by x.created_at, x.id limit $12", "r.created_at + 0, r.id");
    OF_VISITOR_BY_AGE = rooms!("(x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) \
        and (x.product = $5 or $5 is null) and x.visitor = $6 and (x.assignee = $7 or $7 is null) \
        and x.created_at + 0 >= $10 and (x.created_at > $10 or x.id > $11) order by x.created_at + 0, x.id limit $12",
        "r.created_at + 0, r.id");
    LATEST = rooms!("x.state = $3 and (x.label = $4 or $4 is null) and (x.product = $5 or $5 is null) \
        and (x.visitor = $6 or $6 is null) and (x.assignee = $7 or $7 is null) and x.last_at <= $10 \
        and (x.last_at < $10 or x.id < $11) order by x.last_at desc, x.id desc limit $12", "r.last_at desc, r.id desc");
    LATEST_OF_VISITOR = rooms!("(x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) \
        and (x.product = $5 or $5 is null) and x.visitor = $6 and (x.assignee = $7 or $7 is null) and x.last_at + 0 <= $10 \
        and (x.last_at < $10 or x.id < $11) order by x.last_at desc, x.id desc limit $12", "r.last_at desc, r.id desc");
    LATEST_OF_ASSIGNEE = rooms!("(x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) \
        and (x.product = $5 or $5 is null) and (x.visitor = $6 or $6 is null) and x.assignee = $7 and x.last_at + 0 <= $10 \
        and (x.last_at < $10 or x.id < $11) order by x.last_at desc, x.id desc limit $12", "r.last_at desc, r.id desc");
    OF_TAG_BY_AGE = rooms!("x.id in (select t.room from chat_tag t where t.org = $1 and t.tag = $13) \
        and (x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) and (x.product = $5 or $5 is null) \
        and (x.visitor = $6 or $6 is null) and (x.assignee = $7 or $7 is null) and x.created_at + 0 >= $10 \
        and (x.created_at > $10 or x.id > $11) order by x.created_at + 0, x.id limit $12", "r.created_at + 0, r.id");
    LATEST_OF_TAG = rooms!("x.id in (select t.room from chat_tag t where t.org = $1 and t.tag = $13) \
        and (x.state = $3 or $3 is null) and (x.label = $4 or $4 is null) and (x.product = $5 or $5 is null) \
        and (x.visitor = $6 or $6 is null) and (x.assignee = $7 or $7 is null) and x.last_at + 0 <= $10 \
        and (x.last_at < $10 or x.id < $11) order by x.last_at + 0 desc, x.id desc limit $12", "r.last_at desc, r.id desc");
}

/// A page of rooms; `app` none = of every application.
pub(in crate::chat) async fn rooms(
    db: &Db,
    org: &Id,
    app: Option<&Id>,
    filter: &RoomFilter,
    limit: i64,
) -> Result<RoomPage, DbError> {
    let has_label = filter.label.is_some() && filter.product.is_some();
    let rooms = match (filter.order, filter.state) {
        (RoomOrder::OldestFirst, _) if filter.tag.is_some() => list(db, OF_TAG_BY_AGE, org, app, filter, limit).await?,
        (RoomOrder::LatestFirst, _) if filter.tag.is_some() => list(db, LATEST_OF_TAG, org, app, filter, limit).await?,
        (RoomOrder::OldestFirst, _) if filter.visitor.is_some() => {
            list(db, OF_VISITOR_BY_AGE, org, app, filter, limit).await?
        }
        (RoomOrder::OldestFirst, _) if has_label => list(db, OF_LABEL_BY_AGE, org, app, filter, limit).await?,
        (RoomOrder::OldestFirst, _) => list(db, BY_AGE, org, app, filter, limit).await?,
        (RoomOrder::LatestFirst, _) if filter.visitor.is_some() => {
            list(db, LATEST_OF_VISITOR, org, app, filter, limit).await?
        }
        (RoomOrder::LatestFirst, _) if filter.assignee.is_some() => {
            list(db, LATEST_OF_ASSIGNEE, org, app, filter, limit).await?
        }
        (RoomOrder::LatestFirst, Some(_)) => list(db, LATEST, org, app, filter, limit).await?,
        (RoomOrder::LatestFirst, None) => latest_of_both(db, org, app, filter, limit).await?,
    };
    let is_full = usize::try_from(limit).is_ok_and(|limit| rooms.len() == limit);
    let place = |room: &Room| match filter.order {
        RoomOrder::OldestFirst => (room.created_ms, room.id.to_string()),
        RoomOrder::LatestFirst => (room.last_ms, room.id.to_string()),
    };
    let next = rooms.last().filter(|_| is_full).map(place);
    Ok(RoomPage { rooms, next })
}

/// Open and closed rooms together: each state has its place in the index, and a third index would cost every message.
async fn latest_of_both(
    db: &Db,
    org: &Id,
    app: Option<&Id>,
    filter: &RoomFilter,
    limit: i64,
) -> Result<Vec<Room>, DbError> {
    let mut rooms = Vec::new();
    for state in [State::Open, State::Closed] {
        let filter = RoomFilter { state: Some(state), ..filter.clone() };
        rooms.extend(list(db, LATEST, org, app, &filter, limit).await?);
    }
    rooms.sort_by(|one: &Room, other| (other.last_ms, &other.id).cmp(&(one.last_ms, &one.id)));
    rooms.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(rooms)
}

async fn list(
    db: &Db,
    sql: &'static str,
    org: &Id,
    app: Option<&Id>,
    filter: &RoomFilter,
    limit: i64,
) -> Result<Vec<Room>, DbError> {
    let from = match filter.order {
        RoomOrder::OldestFirst => (i64::MIN, String::new()),
        RoomOrder::LatestFirst => (i64::MAX, String::new()),
    };
    let (after_ms, after_id) = filter.after.clone().unwrap_or(from);
    let text = |id: &Option<Id>| id.as_deref().map(str::to_owned);
    let mut args = args![
        org,
        app.map(|app| &**app),
        filter.state.map(State::as_str),
        filter.label.as_deref(),
        filter.product.as_deref(),
        text(&filter.visitor),
        text(&filter.assignee),
        if filter.unassigned { "unassigned" } else { "" },
        text(&filter.team),
        after_ms,
        after_id,
        limit
    ];
    args.extend(filter.tag.clone().map(Into::into));
    db.all(sql, args).await?.iter().map(|row| read_room(org, row)).collect()
}

#[cfg(test)]
mod tests {
    use kernel::db::testing::TestDb;

    use super::*;
    use crate::chat::store::ROOM_OF_KEYS;

    /// How SQLite goes about a statement, in its own words.
    async fn plan(db: &Db, sql: &str, values: usize) -> Vec<String> {
        let sql = Box::leak(format!("explain query plan {sql}").into_boxed_str());
        let nothing = vec![kernel::db::Arg::from(None::<&str>); values];
        db.all(sql, nothing).await.unwrap().iter().map(|row| row.text("detail").unwrap()).collect()
    }

    #[tokio::test]
    async fn no_list_reads_the_whole_organisation() {
        let test = TestDb::sqlite().await;
        let sorted = "USE TEMP B-TREE FOR ORDER BY";
        for (name, sql, index, is_in_order) in [
            ("age", BY_AGE, "chat_room_by_age (org=?", true),
            ("label", OF_LABEL_BY_AGE, "chat_room_by_label (org=? AND label=? AND product=?", true),
            ("visitor by age", OF_VISITOR_BY_AGE, "chat_room_by_visitor (org=? AND visitor=?", false),
            ("latest", LATEST, "chat_room_by_state (org=? AND state=?", true),
            ("visitor", LATEST_OF_VISITOR, "chat_room_by_visitor (org=? AND visitor=?", false),
            ("assignee", LATEST_OF_ASSIGNEE, "chat_room_by_assignee (org=? AND assignee=?", false),
            ("tag", LATEST_OF_TAG, "sqlite_autoindex_chat_room_1 (org=? AND id=?", false),
            ("tag by age", OF_TAG_BY_AGE, "sqlite_autoindex_chat_room_1 (org=? AND id=?", false),
        ] {
            let plan = plan(&test.db, sql, 12 + usize::from(sql.contains("$13"))).await;
            let shown =
                |step: &String| step.contains("SEARCH r USING INDEX sqlite_autoindex_chat_room_1 (org=? AND id=?");
            assert!(plan.iter().any(shown), "{name}: {plan:?}");
            let inner =
                plan.iter().position(|step| step.contains("SEARCH x USING")).unwrap_or_else(|| panic!("{plan:?}"));
            assert!(plan[inner].contains(index), "{name}: {plan:?}");
            // The page itself may be sorted outside; inside only what is small: the rooms of one.
            let sorts = plan[inner..].iter().filter(|step| step.contains(sorted)).count();
            assert!(sorts <= if is_in_order { 1 } else { 2 }, "{name}: {plan:?}");
            assert!(!plan.iter().any(|step| step.starts_with("SCAN")), "{name}: {plan:?}");
        }
        let plan = plan(&test.db, ROOM_OF_KEYS, 8).await;
        assert!(plan.iter().any(|step| step.contains("chat_room_by_keys")), "{plan:?}");
    }
}
