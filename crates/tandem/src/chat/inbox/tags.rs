//! Tags of rooms: words by which those who answer find them again.

use kernel::RecordError;

use super::{canned::invalid, store};
use crate::chat::hub::{News, What};
use crate::chat::{Act, Asker, ChatError, Chats, Wide};

/// Longest tag, characters.
const MAX_TAG: usize = 50;
/// Tags of one room.
const MAX_TAGS: usize = 20;

/// A tag as it is kept.
pub(super) fn checked(tag: &str) -> Result<String, RecordError> {
    let tag = tag.trim().to_lowercase();
    let is_good = !tag.is_empty() && tag.chars().count() <= MAX_TAG && !tag.chars().any(char::is_control);
    if is_good { Ok(tag) } else { Err(invalid("tags", format!("a tag is a line of 1 to {MAX_TAG} characters"))) }
}

/// Tags in their order, each once.
pub(super) fn all_checked(tags: &[String]) -> Result<Vec<String>, RecordError> {
    let mut tags = tags.iter().map(|tag| checked(tag)).collect::<Result<Vec<_>, _>>()?;
    tags.sort_unstable();
    tags.dedup();
    if tags.len() > MAX_TAGS { Err(invalid("tags", format!("at most {MAX_TAGS}"))) } else { Ok(tags) }
}

impl Chats {
    /// The tags of a room.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(crate) async fn tags(&self, asker: &Asker, room: &str) -> Result<Vec<String>, ChatError> {
        let (room, _) = self.reach(asker, room, Act::SeeInside).await?;
        Ok(store::tags(&self.kernel().db, &room.org, &room.id).await?)
    }

    /// Gives a room these tags and no others.
    ///
    /// # Errors
    /// [`ChatError`]; nothing has changed then.
    pub(crate) async fn set_tags(&self, asker: &Asker, room: &str, tags: &[String]) -> Result<Vec<String>, ChatError> {
        let (room, _) = self.reach(asker, room, Act::Annotate).await?;
        let tags = all_checked(tags)?;
        self.kernel().db.writer().commit(store::tag_writes(&room.org, &room.id, &tags)).await?;
        self.hub().tell(News::of(&room, What::Tags(tags.as_slice().into())));
        Ok(tags)
    }

    /// Gives a room one more tag. Whoever adds another one in the same moment loses none.
    pub(super) async fn add_tag(&self, asker: &Asker, room: &str, tag: &str) -> Result<(), ChatError> {
        let (room, _) = self.reach(asker, room, Act::Annotate).await?;
        let tag = checked(tag)?;
        let (db, mut tags) = (&self.kernel().db, store::tags(&self.kernel().db, &room.org, &room.id).await?);
        tags.push(tag.clone());
        all_checked(&tags)?;
        db.writer().commit(vec![store::put_tag_write(&room.org, &room.id, &tag)]).await?;
        let tags = store::tags(db, &room.org, &room.id).await?;
        self.hub().tell(News::of(&room, What::Tags(tags.into())));
        Ok(())
    }

    /// Every tag of the rooms that the asker may see, and how many have it.
    ///
    /// # Errors
    /// [`ChatError`].
    pub(crate) async fn all_tags(&self, asker: &Asker) -> Result<Vec<(String, i64)>, ChatError> {
        self.may_everywhere(asker, Wide::SeeRooms).await?;
        Ok(store::all_tags(&self.kernel().db, asker.org(), asker.app()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_lower_case_in_order_and_once() {
        let texts = |tags: &[&str]| tags.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(all_checked(&texts(&[" VIP", "billing", "vip "])).unwrap(), texts(&["billing", "vip"]));
        assert!(all_checked(&texts(&[""])).is_err() && all_checked(&texts(&["a\nb"])).is_err());
        let many: Vec<String> = (0..=MAX_TAGS).map(|n| n.to_string()).collect();
        assert!(all_checked(&many).is_err() && checked(&"x".repeat(MAX_TAG + 1)).is_err());
    }
}
