//! Row T5 of contracts/flows.md and everything around it, against real servers on loopback.
#![expect(clippy::disallowed_methods, reason = "the servers of a test end with it")]

use std::collections::HashMap;
use std::io;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::http::StatusCode;
use axum::http::header::HOST;
use axum::response::{IntoResponse, Redirect};
use axum::routing::any;
use proptest::prelude::*;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Names and what each look-up of them gives, one after the other; the last answer stays.
#[derive(Default)]
struct Names {
    answers: HashMap<&'static str, Vec<&'static str>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Resolve for Names {
    fn resolve<'a>(&'a self, host: &'a str) -> BoxFuture<'a, io::Result<Vec<IpAddr>>> {
        let before = {
            let mut asked = self.asked.lock().unwrap();
            asked.push(host.to_owned());
            asked.iter().filter(|name| *name == host).count() - 1
        };
        let answers = self.answers.get(host);
        let answer = answers.and_then(|list| list.get(before).or(list.last()));
        let found = answer
            .map(|text| text.split_whitespace().map(|ip| ip.parse().unwrap()).collect())
            .ok_or_else(|| io::Error::other("no such name"));
        Box::pin(std::future::ready(found))
    }
}

fn egress(allow: &[&str], names: &[(&'static str, &[&'static str])]) -> (Egress, Arc<Mutex<Vec<String>>>) {
    let config = EgressConfig { allow: allow.iter().map(|text| (*text).to_owned()).collect(), ca_file: None };
    let asked = Arc::default();
    let resolver =
        Names { answers: names.iter().map(|(name, list)| (*name, list.to_vec())).collect(), asked: Arc::clone(&asked) };
    (Egress::with_resolver(&config, Box::new(resolver)).unwrap(), asked)
}

fn get(url: &str) -> EgressRequest {
    EgressRequest::new(Method::GET, url.parse().unwrap())
}

async fn code(egress: &Egress, request: EgressRequest) -> &'static str {
    egress.send(request).await.map_or_else(|e| e.code(), |_| "answered")
}

/// Serves on this loopback address and counts its connections.
async fn serve(address: &str, router: Router) -> (u16, Arc<AtomicUsize>) {
    let listener = TcpListener::bind((address, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let listener = axum::serve::ListenerExt::tap_io(listener, move |_| {
        counter.fetch_add(1, Ordering::SeqCst);
    });
    tokio::spawn(async move { axum::serve(listener, router).await });
    (port, connections)
}

/// Says what it was asked.
fn echo() -> Router {
    Router::new().fallback(any(async |request: Request| {
        let (parts, body) = request.into_parts();
        let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        let header = |name: &str| parts.headers.get(name).map_or("-", |v| v.to_str().unwrap()).to_owned();
        format!(
            "{} {} host={} auth={} type={} x={} agent={} body={}",
            parts.method,
            parts.uri,
            header(HOST.as_str()),
            header("authorization"),
            header("content-type"),
            header("x-test"),
            header("user-agent"),
            String::from_utf8_lossy(&body)
        )
    }))
}

#[tokio::test]
async fn t5_every_spelling_of_an_inner_address_is_refused_before_a_packet_leaves() {
    let (port, connections) = serve("127.0.0.1", echo()).await;
    let (egress, _) = egress(
        &[],
        &[
            ("inner.test", &["127.0.0.1"]),
            ("mixed.test", &["1.1.1.1 127.0.0.1"]),
            ("mapped.test", &["::ffff:127.0.0.1"]),
            ("meta.test", &["169.254.169.254"]),
        ],
    );
    let hosts = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "017700000001",
        "127.0.0.1.",
        "127.0.0.01",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "[fd00::1]",
        "0",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "198.18.0.1",
        "192.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "224.0.0.1",
        "inner.test",
        "INNER.test",
        "mixed.test",
        "mapped.test",
        "meta.test",
    ];
    for host in hosts {
        assert_eq!(code(&egress, get(&format!("http://{host}:{port}/"))).await, "url_blocked", "{host}");
    }
    assert_eq!(connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn t5_the_operators_list_opens_exactly_its_targets() {
    let (port, _) = serve("127.0.0.1", echo()).await;
    let (other_port, _) = serve("127.0.0.1", echo()).await;
    let by_address = format!("127.0.0.1:{port}");
    let by_host = format!("inner.test:{port}");
    for allow in [by_address.as_str(), by_host.as_str(), "127.0.0.0/8", "inner.test"] {
        let (egress, _) = egress(&[allow], &[("inner.test", &["127.0.0.1"])]);
        assert_eq!(code(&egress, get(&format!("http://inner.test:{port}/"))).await, "answered", "{allow}");
    }
    let (egress, _) = egress(&[&by_address], &[("inner.test", &["127.0.0.1"])]);
    for host in ["127.0.0.1", "2130706433", "[::ffff:127.0.0.1]", "inner.test"] {
        assert_eq!(code(&egress, get(&format!("http://{host}:{other_port}/"))).await, "url_blocked");
    }
    assert_eq!(code(&egress, get(&format!("http://2130706433:{port}/"))).await, "answered");
}

#[tokio::test]
async fn t5_the_systems_own_names_for_loopback_are_refused_too() {
    let (port, _) = serve("127.0.0.1", echo()).await;
    let url = format!("http://localhost:{port}/");
    let with_list = |allow: &[&str]| {
        let allow = allow.iter().map(|text| (*text).to_owned()).collect();
        Egress::new(&EgressConfig { allow, ca_file: None }).unwrap()
    };
    assert_eq!(code(&with_list(&[]), get(&url)).await, "url_blocked");
    assert_eq!(code(&with_list(&[&format!("localhost:{port}")]), get(&url)).await, "answered");
}

#[tokio::test]
async fn t5_each_redirect_is_judged_anew() {
    let router = echo()
        .route("/meta", any(async || Redirect::temporary("http://169.254.169.254/latest/meta-data/")))
        .route("/file", any(async || Redirect::temporary("file:///etc/passwd")))
        .route("/user", any(async || Redirect::temporary("http://u:p@one.test/")))
        .route("/nowhere", any(async || StatusCode::FOUND))
        .route("/loop", any(async || Redirect::temporary("/loop")))
        .route("/1", any(async || Redirect::temporary("/2")))
        .route("/2", any(async || Redirect::temporary("/3")))
        .route("/3", any(async || Redirect::temporary("/end?q=1")));
    let (port, _) = serve("127.0.0.1", router).await;
    let (egress, _) = egress(&[&format!("one.test:{port}")], &[("one.test", &["127.0.0.1"])]);
    let follow =
        |path: &str, max: u8| EgressRequest { max_redirects: max, ..get(&format!("http://one.test:{port}{path}")) };
    assert_eq!(code(&egress, follow("/meta", 3)).await, "url_blocked");
    assert_eq!(code(&egress, follow("/file", 3)).await, "invalid_url");
    assert_eq!(code(&egress, follow("/user", 3)).await, "invalid_url");
    assert_eq!(code(&egress, follow("/nowhere", 3)).await, "redirect");
    assert_eq!(code(&egress, follow("/loop", 3)).await, "redirect");
    assert_eq!(code(&egress, follow("/1", 2)).await, "redirect");
    let end = egress.send(follow("/1", 3)).await.unwrap();
    assert_eq!((end.status, end.url.path(), end.url.query()), (200, "/end", Some("q=1")));
    let not_followed = egress.send(follow("/meta", 0)).await.unwrap();
    assert_eq!(not_followed.status, 307);
    assert_eq!(not_followed.header("location"), Some("http://169.254.169.254/latest/meta-data/"));
}

#[tokio::test]
async fn what_is_meant_for_one_server_is_not_shown_to_another() {
    let (second, _) = serve("127.0.0.1", echo()).await;
    let target = format!("http://two.test:{second}/got");
    let router = Router::new().route("/see-other", any(async move || Redirect::to(&target)));
    let (first, _) = serve("127.0.0.1", router).await;
    let names: [(_, &[_]); 2] = [("one.test", &["127.0.0.1"]), ("two.test", &["127.0.0.1"])];
    let (egress, _) = egress(&["one.test", "two.test"], &names);
    let request = EgressRequest {
        method: Method::POST,
        body: Bytes::from_static(b"secret"),
        headers: vec![
            ("Authorization".into(), "Bearer x".into()),
            ("Content-Type".into(), "text/plain".into()),
            ("X-Test".into(), "kept".into()),
        ],
        max_redirects: 1,
        ..get(&format!("http://one.test:{first}/see-other"))
    };
    let body = egress.send(request).await.unwrap().body;
    let agent = concat!("Tandem/", env!("CARGO_PKG_VERSION"));
    let expected = format!("GET /got host=two.test:{second} auth=- type=- x=kept agent={agent} body=");
    assert_eq!(String::from_utf8_lossy(&body), expected);
}

#[tokio::test]
async fn a_name_that_moves_inside_is_refused_although_a_connection_is_open() {
    let (port, connections) = serve("127.0.0.2", echo()).await;
    let (egress, asked) = egress(&["127.0.0.2"], &[("moves.test", &["127.0.0.2", "127.0.0.2", "127.0.0.1"])]);
    let url = format!("http://moves.test:{port}/");
    assert_eq!(code(&egress, get(&url)).await, "answered");
    assert_eq!(code(&egress, get(&url)).await, "answered");
    assert_eq!(code(&egress, get(&url)).await, "url_blocked");
    assert_eq!(asked.lock().unwrap().len(), 3, "each request is resolved once");
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the connection to the checked address is used again");
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let (port, _) = serve("127.0.0.2", echo()).await;
    let names: [(_, &[_]); 1] = [("two.test", &["127.0.0.3 127.0.0.2"])];
    let (egress, _) = egress(&["127.0.0.0/8"], &names);
    let answer = egress.send(get(&format!("http://two.test:{port}/"))).await.unwrap();
    assert!(String::from_utf8_lossy(&answer.body).contains(&format!("host=two.test:{port}")));
}

#[tokio::test]
async fn the_form_of_the_url_and_the_headers() {
    let (egress, _) = egress(&[], &[("ok.test", &["1.1.1.1"])]);
    for bad in [
        "ftp://ok.test/",
        "file:///x",
        "ws://ok.test/",
        "http://u@ok.test/",
        "http://:p@ok.test/",
        "http://ok.test:0/",
        "data:,x",
    ] {
        let url: Url = bad.parse().unwrap();
        assert_eq!(egress.judge_literal(&url).unwrap_err().code(), "invalid_url", "{bad}");
        assert_eq!(code(&egress, get(bad)).await, "invalid_url", "{bad}");
    }
    for name in ["Host", "Content-Length", "Transfer-Encoding", "Connection", "bad name", "x\r\ny"] {
        let request = EgressRequest { headers: vec![(name.into(), "1".into())], ..get("http://ok.test/") };
        assert_eq!(code(&egress, request).await, "invalid_header", "{name}");
    }
    for value in ["a\r\nX-Evil: 1", "a\nb", "a\0b"] {
        let request = EgressRequest { headers: vec![("X-Test".into(), value.into())], ..get("http://ok.test/") };
        assert_eq!(code(&egress, request).await, "invalid_header");
    }
}

#[tokio::test]
async fn at_post_time_only_literals_and_the_list_are_judged() {
    let (egress, asked) = egress(&["10.0.0.0/8:80"], &[]);
    let judge = |url: &str| egress.judge_literal(&url.parse().unwrap()).map_err(|e| e.code());
    assert_eq!(judge("https://anything.test/x"), Ok(()));
    assert_eq!(judge("http://10.1.1.1/"), Ok(()));
    assert_eq!(judge("https://10.1.1.1/"), Err("url_blocked"));
    assert_eq!(judge("http://0x7f.1/"), Err("url_blocked"));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_body_has_a_cap_announced_or_not() {
    let router = Router::new().route("/announced", any(async || vec![b'x'; 1_001])).route(
        "/chunked",
        any(async || {
            let chunks = (0..1_001).map(|_| Ok::<_, io::Error>("x"));
            axum::body::Body::from_stream(futures_util::stream::iter(chunks)).into_response()
        }),
    );
    let (port, _) = serve("127.0.0.1", router).await;
    let (egress, _) = egress(&["127.0.0.1"], &[]);
    for path in ["announced", "chunked"] {
        let with_cap = |max_body| EgressRequest { max_body, ..get(&format!("http://127.0.0.1:{port}/{path}")) };
        assert_eq!(code(&egress, with_cap(1_000)).await, "too_large", "{path}");
        assert_eq!(egress.send(with_cap(1_001)).await.unwrap().body.len(), 1_001, "{path}");
    }
}

#[tokio::test]
async fn a_body_that_does_not_matter_is_dropped_and_its_connection_used_again() {
    let router =
        Router::new().route("/short", any(async || "thanks")).route("/long", any(async || vec![b'x'; 10 << 20])).route(
            "/never",
            any(async || {
                let never = futures_util::stream::pending::<io::Result<Bytes>>();
                axum::body::Body::from_stream(never).into_response()
            }),
        );
    let (port, connections) = serve("127.0.0.1", router).await;
    let (egress, _) = egress(&["127.0.0.1"], &[]);
    let tell = async |path: &str| {
        let request =
            EgressRequest { max_body: 0, timeout_ms: 2_000, ..get(&format!("http://127.0.0.1:{port}/{path}")) };
        let answer = egress.send(request).await.unwrap();
        (answer.status, answer.body.len())
    };
    for _ in 0..5 {
        assert_eq!(tell("short").await, (200, 0));
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    assert_eq!(tell("long").await, (200, 0));
    assert_eq!(tell("never").await, (200, 0));
}

/// A server that does this with each connection.
async fn raw<F: Future<Output = ()> + Send>(serve: impl Fn(tokio::net::TcpStream) -> F + Send + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream).await;
        }
    });
    port
}

#[tokio::test]
async fn servers_that_misbehave_have_a_name() {
    let (egress, _) = egress(&["127.0.0.1"], &[]);
    let url = |port: u16| format!("http://127.0.0.1:{port}/?token=hunter2");
    let garbage = raw(async |mut stream| {
        let _ = stream.read(&mut [0; 1_000]).await;
        let _ = stream.write_all(b"what?\r\n\r\n").await;
    })
    .await;
    let error = egress.send(get(&url(garbage))).await.unwrap_err();
    assert_eq!(error.code(), "broken");
    assert!(!error.to_string().contains("hunter2"), "{error}");

    let cut = raw(async |mut stream| {
        let _ = stream.read(&mut [0; 1_000]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    })
    .await;
    assert_eq!(code(&egress, get(&url(cut))).await, "broken");

    let silent = raw(async |_stream| std::future::pending().await).await;
    let request = EgressRequest { timeout_ms: 100, ..get(&url(silent)) };
    assert_eq!(code(&egress, request).await, "timeout");

    let drips = raw(async |mut stream| {
        let _ = stream.read(&mut [0; 1_000]).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
    let request = EgressRequest { timeout_ms: 150, ..get(&url(drips)) };
    assert_eq!(code(&egress, request).await, "timeout", "the time covers the body");

    let closed = TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().port();
    let error = egress.send(get(&url(closed))).await.unwrap_err();
    assert!(error.code() == "connect" && error.is_connect());
    assert_eq!(code(&egress, get("http://no-such-name.test/")).await, "dns");
}

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/tls").join(name)
}

/// A TLS server with the certificate of api.test, answering one request per connection.
async fn tls_server() -> u16 {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(tls_file("server.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(tls_file("server.key")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    raw(move |stream| {
        let accept = acceptor.accept(stream);
        async move {
            let Ok(mut stream) = accept.await else { return };
            let _ = stream.read(&mut [0; 1_000]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi").await;
            let _ = stream.shutdown().await;
        }
    })
    .await
}

#[tokio::test]
async fn an_authority_of_the_operator_is_trusted_and_only_for_its_names() {
    let port = tls_server().await;
    let with_authority = |ca_file: Option<PathBuf>| {
        let config = EgressConfig { allow: vec!["127.0.0.1".into()], ca_file };
        let answers = [("api.test", vec!["127.0.0.1"]), ("other.test", vec!["127.0.0.1"])].into();
        Egress::with_resolver(&config, Box::new(Names { answers, ..Names::default() }))
    };
    let trusting = with_authority(Some(tls_file("ca.pem"))).unwrap();
    let answer = trusting.send(get(&format!("https://api.test:{port}/"))).await.unwrap();
    assert_eq!(&answer.body[..], b"hi");
    assert_eq!(code(&trusting, get(&format!("https://other.test:{port}/"))).await, "tls");
    let strict = with_authority(None).unwrap();
    assert_eq!(code(&strict, get(&format!("https://api.test:{port}/"))).await, "tls");
    for bad in [tls_file("none.pem"), tls_file("server.key")] {
        assert!(matches!(with_authority(Some(bad)), Err(EgressError::Authority(_))));
    }
}

proptest! {
    /// However an IPv4 address is spelled, it is judged as the address it is.
    #[test]
    fn every_spelling_is_judged_alike(bits: u32, base in prop::sample::select(vec![8, 10, 16]), parts in 1usize..=4) {
        let [a, b, c, d] = bits.to_be_bytes();
        let low = |bytes: &[u8]| bytes.iter().fold(0u32, |n, byte| n << 8 | u32::from(*byte));
        let numbers = match parts {
            1 => vec![bits],
            2 => vec![a.into(), low(&[b, c, d])],
            3 => vec![a.into(), b.into(), low(&[c, d])],
            _ => vec![a.into(), b.into(), c.into(), d.into()],
        };
        let spell = |n: &u32| match base { 8 => format!("0{n:o}"), 16 => format!("{n:#x}"), _ => n.to_string() };
        let host = numbers.iter().map(spell).collect::<Vec<_>>().join(".");
        let (egress, _) = egress(&[], &[]);
        let public = address::is_public(std::net::Ipv4Addr::from(bits).into());
        let judged = egress.judge_literal(&format!("http://{host}/").parse().unwrap());
        prop_assert_eq!(judged.is_ok(), public, "{}", host);
    }
}

#[test]
fn other_protocols_are_held_to_the_same_addresses() {
    let config = EgressConfig { allow: vec!["10.0.0.7:5060".to_owned()], ..EgressConfig::default() };
    let egress = Egress::new(&config).unwrap();
    let permits = |address: &str| egress.permits("pbx.example", address.parse().unwrap());
    assert!(permits("8.8.8.8:5060") && permits("10.0.0.7:5060"));
    for address in ["10.0.0.7:5061", "127.0.0.1:5060", "169.254.169.254:80", "[::1]:5060", "[::ffff:127.0.0.1]:5060"] {
        assert!(!permits(address), "{address}");
    }
}

#[tokio::test]
async fn a_stream_goes_where_a_request_may_go() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = |text: String| Url::parse(&text).unwrap();
    let closed = Egress::new(&EgressConfig::default()).unwrap();
    let error = closed.open(&url(format!("ws://{address}/bot"))).await.err().unwrap();
    assert!(matches!(error, EgressError::Blocked { .. }), "{error}");
    assert!(matches!(closed.judge_stream(&url("wss://169.254.169.254/".into())), Err(EgressError::Blocked { .. })));
    let config = EgressConfig { allow: vec![address.to_string()], ..EgressConfig::default() };
    let open = Egress::new(&config).unwrap();
    open.open(&url(format!("ws://{address}/bot"))).await.unwrap();
    listener.accept().await.unwrap();
    let http = open.open(&url(format!("http://{address}/"))).await.err().unwrap();
    assert!(matches!(http, EgressError::Url(_)), "{http}");
}
