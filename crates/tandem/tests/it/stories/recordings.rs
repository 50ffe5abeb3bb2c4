//! A recording as a client fetches it: listed, whole, in ranges, by its signed URL.

use reqwest::Method;
use reqwest::header::RANGE;
use serde_json::{Value, json};

use crate::harness::crowd::{Act, Crowd};
use crate::harness::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_fetched_whole_in_ranges_and_by_its_link() {
    let crowd = Crowd::start(|_| vec![Act::Ring, Act::Answer, Act::Speak, Act::wait(1_200), Act::Hangup]).await;
    let server = Server::start().await;
    crowd.meet(server.sip());
    let (mine, other) = (server.org("mine").await, server.org("other").await);
    mine.trunk("crowd", &[&crowd.address.to_string()], &["+442071838000"]).await;
    let client = mine.client();
    let flow = json!([
        {"id": 1, "type": "call", "number": "+442071838103", "next_step": 2}, {"id": 2, "type": "pause", "seconds": 60},
    ]);
    let run = client.post("/api/v2/call/flow", &json!({"flow": flow, "record": true})).await.expect(201);
    let list = format!("/v1/calls/{}/recordings", run["call_id"].as_str().unwrap());
    let ready = |list: &Value| list["recordings"][0]["state"] == "ready";
    let recording = client.until(&list, "the recording is ready", ready).await["recordings"][0].clone();
    assert!(recording["seconds"].as_f64().unwrap() > 0.9 && recording["channels"] == 2, "{recording}");

    let audio = format!("/v1/recordings/{}/audio", recording["id"].as_str().unwrap());
    let fetch = async |range: Option<&str>| {
        let request = client.request(Method::GET, &audio);
        let request = range.iter().fold(request, |request, range| request.header(RANGE, *range));
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.headers().clone(), answer.bytes().await.unwrap())
    };
    let (status, headers, whole) = fetch(None).await;
    assert_eq!((status, &headers["content-type"]), (200, &"audio/wav".parse().unwrap()));
    assert_eq!((&headers["accept-ranges"], whole.get(..4)), (&"bytes".parse().unwrap(), Some(&b"RIFF"[..])));
    let wav = hound::WavReader::new(std::io::Cursor::new(&whole[..])).unwrap();
    let seconds = f64::from(wav.duration()) / f64::from(wav.spec().sample_rate);
    assert!((seconds - recording["seconds"].as_f64().unwrap()).abs() < 0.05, "{seconds} s, {recording}");

    let length = whole.len();
    for (range, start, end) in [
        ("bytes=0-43".to_owned(), 0, 44),
        ("bytes=100-".to_owned(), 100, length),
        ("bytes=-50".to_owned(), length - 50, length),
    ] {
        let (status, headers, part) = fetch(Some(&range)).await;
        assert_eq!((status, &part[..]), (206, &whole[start..end]), "{range}");
        assert_eq!(headers["content-range"], format!("bytes {start}-{}/{length}", end - 1), "{range}");
    }
    let (status, _, part) = fetch(Some("bytes=5-1")).await;
    assert_eq!((status, part.len()), (200, length), "a range that is none means the whole");

    // The link opens it without a credential, and only as it was signed.
    let link: reqwest::Url = recording["url"].as_str().unwrap().parse().unwrap();
    let signed = format!("{}?{}", link.path(), link.query().unwrap());
    assert_eq!(server.client().get(&signed.replace("expires=1", "expires=2")).await.status, 401);
    let opened = server.client().request(Method::GET, &signed).send().await.unwrap();
    assert_eq!((opened.status().as_u16(), opened.bytes().await.unwrap()), (200, whole));
    assert_eq!(server.client().get(&audio).await.status, 401);

    // Each playback is one row of the audit, not each range of it; a range that no playback began is one for itself.
    let reads = async || {
        let rows = server.app.kernel.audit(&mine.org.id, None, 100).await.unwrap();
        rows.iter().filter(|row| row.action == "recording.read").map(|row| row.actor.clone()).collect::<Vec<_>>()
    };
    let heard = reads().await;
    assert_eq!(heard.len(), 4, "the whole, its beginning, the whole again, by the link: {heard:?}");
    assert_eq!(heard[0], "signed_url");
    let app = server.client().bearing(&mine.app_key(&[]).await);
    for range in ["bytes=44-", "bytes=90-99"] {
        let part = app.request(Method::GET, &audio).header(RANGE, range).send().await.unwrap();
        assert_eq!(part.status(), 206);
    }
    assert_eq!(reads().await.len(), 5, "who leaves the header out has heard it too");
    for path in [&audio, &list] {
        assert_eq!(other.client().get(path).await.status, 404, "{path}");
    }
    server.stop().await;
}
