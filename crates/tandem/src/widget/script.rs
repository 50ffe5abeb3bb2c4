//! The widget's script: one file for all, with what is known of the application written into it.
//!
//! Invariant: what is written into it is public, and is data wherever it stands: no text of a setting becomes a program.

use axum::extract::State as Given;
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use kernel::http::{Client, Path};
use kernel::secret::token_hash;
use kernel::{Kernel, Problem};
use serde_json::{Map, Value, json};

use crate::chat::Chats;
use crate::chat::visit::Door;
use crate::chat::visit::words::{LOCALES, say};

const SCRIPT: &str = include_str!("../../web/widget/widget.js");
/// What stands in the script where the configuration comes.
const PLACE: &str = "{} /* tandem:config */";
/// Words of the button and of the frame's name.
const WORDS: [&str; 3] = ["launch", "close", "title"];
/// A change of the settings is seen after so long.
const KEEP: &str = "public, max-age=300";
/// Characters of a hash in a tag.
const TAG_LENGTH: usize = 16;
const SCRIPT_ENDING: &str = ".js";

/// `GET /w/<application>.js`
pub(super) async fn serve(
    Given(chats): Given<Chats>,
    Given(kernel): Given<Kernel>,
    client: Client,
    headers: HeaderMap,
    Path(file): Path<String>,
) -> Result<Response, Problem> {
    let app = file.strip_suffix(SCRIPT_ENDING).ok_or_else(Problem::not_found)?;
    let door = chats.door(app).await?;
    let script = write(&door, &origin(&kernel.base_url(client, &headers)));
    let hash: String = token_hash(&script).chars().take(TAG_LENGTH).collect();
    let tag = format!("\"{hash}\"");
    let is_known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let lines = [
        (CACHE_CONTROL, KEEP.to_owned()),
        (ETAG, tag),
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*".to_owned()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (HeaderName::from_static("cross-origin-resource-policy"), "cross-origin".to_owned()),
    ];
    if is_known {
        return Ok((StatusCode::NOT_MODIFIED, lines).into_response());
    }
    let kind = HeaderValue::from_static("text/javascript; charset=utf-8");
    Ok((lines, [(CONTENT_TYPE, kind)], script).into_response())
}

/// Where the frame is: the origin of the address at which browsers reach this server.
fn origin(base: &str) -> String {
    // A Host that is none makes no address: the script then stands in nobody's page anyhow.
    url::Url::parse(base).map_or_else(|_| String::new(), |url| url.origin().ascii_serialization())
}

fn write(door: &Door, origin: &str) -> String {
    let of_locale = |locale: &&str| {
        let words: Map<String, Value> = WORDS.iter().map(|key| ((*key).to_owned(), json!(say(locale, key)))).collect();
        ((*locale).to_owned(), Value::Object(words))
    };
    let words: Map<String, Value> = LOCALES.iter().map(of_locale).collect();
    let widget = &door.widget;
    let config = json!({
        "origin": origin, "app": door.app.id, "accent": widget.accent.css(),
        "accent_text": widget.accent.words().css(), "position": widget.position, "locale": widget.locale, "words": words,
    });
    // Inside a script of a page these two would end it; JSON may write them so.
    let config = config.to_string().replace('<', "\\u003c").replace("-->", "--\\u003e");
    SCRIPT.replacen(PLACE, &config, 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_frame_stands_where_browsers_reach_the_server() {
        assert_eq!(origin("https://Chat.example:8443/path"), "https://chat.example:8443");
        assert_eq!(origin("http://192.0.2.1:8080"), "http://192.0.2.1:8080");
        assert_eq!(origin("http://not a host"), "");
    }

    #[test]
    fn the_script_has_one_place_for_what_is_known() {
        assert_eq!(SCRIPT.matches(PLACE).count(), 1);
        assert!(SCRIPT.len() < 30_000, "{} bytes before they are compressed", SCRIPT.len());
    }
}
