//! Every engine speaks and is heard as the contract says.

use super::*;
use kernel::config::SpeechConfig;
use media::{dtmf::Detector, frame::rms};
use std::collections::HashMap;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const SENTENCE: &str = "Hi, welcome to Tandem. Press one for apples, or press two for oranges.";

fn config() -> SpeechConfig {
    SpeechConfig::default()
}

fn installed() -> (Speech, tempfile::TempDir) {
    let scratch = tempfile::tempdir().unwrap();
    let speech = Speech::new(&config(), scratch.path().join("speech"));
    assert!(
        speech.programs().has_flite() && speech.programs().has_espeak(),
        "flite and espeak-ng must be installed: ./test does"
    );
    (speech, scratch)
}

fn embedded_only() -> Speech {
    Speech::with_programs(&config(), Programs::none(), PathBuf::from("/nonexistent"))
}

/// Speech above RMS 400, pauses below RMS 150, in windows of 100 ms (contracts/platform.md).
fn assert_levels(name: &str, sound: &Sound) {
    assert_eq!(sound.rate, RATE, "{name}");
    let seconds = sound.pcm.len() as f32 / RATE as f32;
    assert!((2.0..9.0).contains(&seconds), "{name}: {seconds} s");
    let levels: Vec<u32> = sound.pcm.chunks_exact(RATE as usize / 10).map(rms).collect();
    let spoken = levels.iter().filter(|&&level| level > 400).count();
    assert!(spoken * 10 >= levels.len() * 6, "{name}: {levels:?}");
    // Between the two sentences is a pause, and behind the last.
    assert!(sound.pcm.chunks_exact(RATE as usize / 50).any(|pcm| rms(pcm) < 150), "{name}: {levels:?}");
    let end = &sound.pcm[sound.pcm.len() - RATE as usize / 20..];
    assert!(rms(end) < 150, "{name} ends at {}", rms(end));
    assert!(rms(&sound.pcm) > 1_000, "{name}: {}", rms(&sound.pcm));
}

#[tokio::test]
async fn every_engine_is_loud_enough_and_quiet_in_its_pauses() {
    let (speech, _scratch) = installed();
    for (voice, language) in [
        (None, None),
        (Some("rms"), None),
        (Some("slt"), Some("en-GB")),
        (Some("kal16"), None),
        (Some("nobody"), Some("EN")),
        (None, Some("de")),
        (None, Some("pt-BR")),
    ] {
        let sound = speech.say(SENTENCE, voice, language).await.unwrap();
        assert_levels(&format!("{voice:?} {language:?}"), &sound);
    }
    assert_levels("embedded", &embedded_only().say(SENTENCE, None, None).await.unwrap());
}

#[tokio::test]
async fn the_best_voice_speaks_when_its_program_is_there() {
    let (speech, _scratch) = installed();
    let programs = speech.programs();
    let none = Programs::none();
    for (programs, voice, language, engine) in [
        (programs, None, None, Engine::Flite("rms".into())),
        (programs, Some("slt"), None, Engine::Flite("slt".into())),
        (programs, Some("kal16"), None, Engine::Embedded),
        (programs, Some("/etc/passwd"), None, Engine::Flite("rms".into())),
        (programs, Some("rms"), Some("fr"), Engine::Espeak("fr".into())),
        (&none, None, None, Engine::Embedded),
        (&none, Some("rms"), Some("en-US"), Engine::Embedded),
    ] {
        assert_eq!(choose(programs, voice, language).await, Ok(engine), "{voice:?} {language:?}");
    }
    for (programs, language) in
        [(&none, "de"), (programs, "-x"), (programs, "../de"), (programs, "de; rm"), (programs, "")]
    {
        let refused = choose(programs, None, Some(language)).await;
        assert!(matches!(refused, Err(SpeechError::NoVoice { .. })), "{language}: {refused:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_said_is_a_clear_error() {
    let (speech, _scratch) = installed();
    for text in ["", "  \n", "...", "\u{0}"] {
        assert_eq!(speech.say(text, None, None).await.err(), Some(SpeechError::Empty), "{text:?}");
    }
    assert_eq!(speech.say(&"a ".repeat(4_000), None, None).await.err(), Some(SpeechError::TooLong));
    let unknown = speech.say("hallo", None, Some("xx-yy")).await.err();
    assert!(matches!(unknown, Some(SpeechError::NoVoice { .. })), "{unknown:?}");
}

#[tokio::test]
async fn text_is_never_an_argument_nor_a_command() {
    let (speech, scratch) = installed();
    for text in ["-o /tmp/never -v", "$(touch never) `touch never` ; touch never", "--help 'quote\" | cat"] {
        for language in ["en", "de"] {
            assert!(speech.say(text, None, Some(language)).await.is_ok(), "{text} in {language}");
        }
    }
    let left: Vec<_> = std::fs::read_dir(scratch.path().join("speech")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn the_same_words_are_the_same_sound() {
    let speech = embedded_only();
    let first = speech.say("One two three.", None, None).await.unwrap();
    let narrow = speech.say_at("One two three.", None, None, 8_000).await.unwrap();
    assert_eq!(narrow.rate, 8_000);
    assert!(narrow.duration_ms().abs_diff(first.duration_ms()) <= 40, "the same words, as long");
    let again = speech.say(" One  two\nthree. ", None, None).await.unwrap();
    assert!(Arc::ptr_eq(&first.pcm, &again.pcm));
}

#[tokio::test]
async fn speech_is_no_telephone_key() {
    let text = "She had your dark suit in greasy wash water all year. Eight, nine, three, oh, oh, six. \
                The beige hue on the waters of the loch impressed all, including the French queen. \
                Please enter your account number, then press the hash key. See you, Susie, at eleven.";
    let (speech, _scratch) = installed();
    for voice in ["kal16", "rms", "slt", "awb"] {
        let sound = speech.say(text, Some(voice), None).await.unwrap();
        let mut detector = Detector::new(RATE);
        let heard: Vec<_> = sound.pcm.chunks(320).filter_map(|frame| detector.listen(frame)).collect();
        assert_eq!(heard, [], "{voice}");
    }
}

/// Answers one request with `response`; what was asked for.
async fn provider(response: Vec<u8>) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    #[expect(clippy::disallowed_methods, reason = "a test's server ends with the test")]
    let served = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(&response).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, served)
}

fn wav_of_a_tone() -> Vec<u8> {
    let mut file = std::io::Cursor::new(Vec::new());
    let spec = hound::WavSpec {
        channels: 1,
        sample_rate: 24_000,
        bits_per_sample: 16,
        sample_format: hound::SampleFormat::Int,
    };
    let mut writer = hound::WavWriter::new(&mut file, spec).unwrap();
    for n in 0..24_000 {
        writer.write_sample(((n as f32 * 0.1).sin() * 800.0) as i16).unwrap();
    }
    writer.finalize().unwrap();
    file.into_inner()
}

fn with_provider(url: &str) -> Speech {
    let config =
        SpeechConfig { provider: Some(format!("{url}/")), api_key: Some("sk-secret".to_owned().into()), ..config() };
    Speech::with_programs(&config, Programs::none(), PathBuf::from("/nonexistent"))
}

#[tokio::test]
async fn a_provider_is_asked_as_openai_is() {
    let wav = wav_of_a_tone();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: {}\r\n\r\n", wav.len());
    let (url, served) = provider([head.into_bytes(), wav].concat()).await;
    let sound = with_provider(&url).say("Hello <there>", Some("nova"), None).await.unwrap();
    assert!((15_000..=16_000).contains(&sound.pcm.len()), "{}", sound.pcm.len());
    assert!(rms(&sound.pcm) > 2_000, "levelled");
    let request = served.await.unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("POST /v1/audio/speech HTTP/1.1"), "{head}");
    assert!(head.to_lowercase().contains("authorization: bearer sk-secret"), "{head}");
    let body: HashMap<String, String> = serde_json::from_str(body).unwrap();
    let value = |name: &str| body.get(name).map(String::as_str);
    assert_eq!((value("model"), value("voice"), value("input")), (Some("tts-1"), Some("nova"), Some("Hello <there>")));
}

#[tokio::test]
async fn a_provider_that_fails_is_replaced_by_a_voice_of_this_machine() {
    for response in [
        "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 302 Go\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n",
        "",
    ] {
        let (url, _served) = provider(response.into()).await;
        assert_levels("instead", &with_provider(&url).say(SENTENCE, None, None).await.unwrap());
    }
}
