//! Files that many ask for, that take long, and that can no longer be had, from a server on loopback.
#![expect(clippy::disallowed_methods, reason = "the servers of a test end with it")]

use std::sync::atomic::{AtomicUsize, Ordering};

use kernel::{
    ClockHand,
    config::{EgressConfig, SpeechConfig},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::Semaphore,
};
use voice::speech::Programs;

use super::*;

/// Serves one sound, with an ETag.
#[derive(Clone)]
struct Server {
    url: String,
    asked: Arc<AtomicUsize>,
    /// Answers that may go out.
    allowed: Arc<Semaphore>,
    status: Arc<Mutex<u16>>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/tone.wav", listener.local_addr().unwrap());
        let server = Self {
            url,
            asked: Arc::default(),
            allowed: Arc::new(Semaphore::new(0)),
            status: Arc::new(Mutex::new(200)),
        };
        let serving = server.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let server = serving.clone();
                tokio::spawn(async move {
                    let _read = socket.read(&mut [0; 4_096]).await;
                    server.asked.fetch_add(1, Ordering::SeqCst);
                    server.allowed.acquire().await.unwrap().forget();
                    let body = wav();
                    let head = format!(
                        "HTTP/1.1 {} X\r\nETag: \"1\"\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                        *server.status.lock().unwrap(),
                        body.len()
                    );
                    let _sent = socket.write_all(&[head.as_bytes(), &body].concat()).await;
                });
            }
        });
        server
    }

    fn allow(&self, answers: usize) {
        self.allowed.add_permits(answers);
    }

    fn answers_with(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

/// A tenth of a second, 8 kHz.
fn wav() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tone.wav");
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 8_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::create(&file, spec).unwrap();
    (0..800_i16).for_each(|n| writer.write_sample(n).unwrap());
    writer.finalize().unwrap();
    std::fs::read(file).unwrap()
}

fn sounds() -> (Sounds, ClockHand) {
    let (clock, hand) = Clock::fake(0);
    let egress = Egress::new(&EgressConfig { allow: vec!["127.0.0.0/8".into()], ca_file: None }).unwrap();
    let speech = Speech::with_programs(&SpeechConfig::default(), Programs::default(), std::env::temp_dir());
    (Sounds::new(speech, egress, TaskTracker::new(), clock), hand)
}

fn ask(sounds: &Sounds, server: &Server) -> tokio::task::JoinHandle<Result<Sound, SoundError>> {
    let (sounds, source) = (sounds.clone(), Source::Url(server.url.clone()));
    tokio::spawn(async move { sounds.get(&source, 8_000).await })
}

async fn until_asked(server: &Server, times: usize) {
    while server.asked() < times {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn many_calls_fetch_a_file_once() {
    let (server, (sounds, _hand)) = (Server::start().await, sounds());
    let calls: Vec<_> = (0..50).map(|_| ask(&sounds, &server)).collect();
    until_asked(&server, 1).await;
    server.allow(50);
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap().pcm.len(), 800);
    }
    assert_eq!(server.asked(), 1);
    ask(&sounds, &server).await.unwrap().unwrap();
    assert_eq!(server.asked(), 2, "the next one asks whether it is still the same");
}

#[tokio::test]
async fn nobody_waits_longer_than_three_seconds_and_the_next_caller_has_the_file() {
    let (server, (sounds, hand)) = (Server::start().await, sounds());
    let first = ask(&sounds, &server);
    until_asked(&server, 1).await;
    hand.advance(WAIT_MS - 1);
    let second = ask(&sounds, &server);
    tokio::task::yield_now().await;
    assert!(!first.is_finished());
    hand.advance(1);
    assert!(matches!(first.await.unwrap(), Err(SoundError::Slow)));
    server.allow(1);
    assert_eq!(second.await.unwrap().unwrap().pcm.len(), 800, "the fetching went on");
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn an_older_copy_stands_in_for_a_server_that_fails_but_not_for_a_file_that_is_gone() {
    let (server, (sounds, hand)) = (Server::start().await, sounds());
    server.allow(2);
    ask(&sounds, &server).await.unwrap().unwrap();
    server.answers_with(503);
    assert_eq!(ask(&sounds, &server).await.unwrap().unwrap().pcm.len(), 800);
    let slow = ask(&sounds, &server);
    until_asked(&server, 3).await;
    hand.advance(WAIT_MS);
    assert_eq!(slow.await.unwrap().unwrap().pcm.len(), 800);
    server.answers_with(404);
    server.allow(1);
    let gone = ask(&sounds, &server).await.unwrap();
    assert!(matches!(gone, Err(SoundError::Status(404))), "{gone:?}");
}
