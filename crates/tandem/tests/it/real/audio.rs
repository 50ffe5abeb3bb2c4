//! Two phones of one organisation hear each other through the server: in each codec, by each
//! transport, in the clear and by SDES-SRTP, between phones of two makers. Ears judge by tones.

use std::time::Duration;

use tokio::time::sleep;

use crate::harness::baresip::Baresip;
use crate::harness::ear::{Heard, tone_file};
use crate::harness::linphone::Linphone;
use crate::harness::phone::Account;
use crate::harness::server::{Plan, Server, Tenant};

/// What baresip says, and what linphone says.
const BARESIP_HERTZ: f64 = 440.0;
const LINPHONE_HERTZ: f64 = 1_000.0;
/// How long they talk; the tone must fill most of it.
const TALK: Duration = Duration::from_secs(3);
const MOST: f64 = 2.0;

/// How a phone is attached.
#[derive(Clone, Copy, Debug)]
struct Way {
    codec: &'static str,
    transport: &'static str,
    srtp: bool,
}

impl Way {
    async fn account(self, server: &Server, tenant: &Tenant<'_>, extension: &str) -> Account {
        let address = if self.transport == "tls" { server.sips() } else { server.sip() };
        let account = tenant.phone(extension).await.by(self.transport, address).codecs(&[self.codec]);
        if !self.srtp {
            return account;
        }
        tenant.require_srtp(extension).await;
        account.srtp()
    }
}

fn assert_hears(who: &str, heard: &Heard, own: f64, other: f64) {
    let seconds = heard.seconds_of(other);
    assert!(seconds > MOST, "{who} heard {other} Hz for {seconds} s of {} s", heard.seconds());
    assert!(heard.seconds_of(own) < 0.3, "{who} heard itself");
}

/// baresip calls linphone, then linphone calls baresip.
async fn both_ways(caller: Way, callee: Way) {
    let server = Plan::new().with_tls().await.start().await;
    let dev = server.org("dev").await;
    let folder = tempfile::tempdir().unwrap();
    let low = tone_file(folder.path(), BARESIP_HERTZ);
    let high = tone_file(folder.path(), LINPHONE_HERTZ);
    let account = caller.account(&server, &dev, "1001").await.answering().speaking(low);
    let mut baresip = Baresip::start(account).await;
    let account = callee.account(&server, &dev, "1002").await.answering().speaking(high);
    let mut linphone = Linphone::start(account).await;

    baresip.dial("1002").await;
    baresip.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    baresip.hang_up().await;
    linphone.expect("ended").await;
    sleep(Duration::from_millis(300)).await;
    assert_hears("baresip", &baresip.heard(), BARESIP_HERTZ, LINPHONE_HERTZ);
    assert_hears("linphone", &linphone.heard(), LINPHONE_HERTZ, BARESIP_HERTZ);

    linphone.dial("1001").await;
    baresip.expect("CALL_ESTABLISHED").await;
    sleep(TALK).await;
    linphone.say("terminate").await;
    baresip.expect("CALL_CLOSED").await;
    sleep(Duration::from_millis(300)).await;
    assert_hears("baresip", &baresip.heard(), BARESIP_HERTZ, LINPHONE_HERTZ);
    assert_hears("linphone", &linphone.heard(), LINPHONE_HERTZ, BARESIP_HERTZ);
    server.stop().await;
}

/// One test for each combination: a name, how baresip is attached, how linphone is.
macro_rules! both_ways {
    ($($name:ident: $a:literal $b:literal $c:literal, $d:literal $e:literal $f:literal;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            both_ways(
                Way { codec: $a, transport: $b, srtp: $c },
                Way { codec: $d, transport: $e, srtp: $f },
            )
            .await;
        }
    )*};
}

both_ways! {
    pcmu_by_udp: "PCMU" "udp" false, "PCMU" "udp" false;
    pcma_by_tcp: "PCMA" "tcp" false, "PCMA" "tcp" false;
    g722_by_udp: "G722" "udp" false, "G722" "udp" false;
    opus_by_udp: "opus" "udp" false, "opus" "udp" false;
    pcmu_by_tls_with_srtp: "PCMU" "tls" true, "PCMU" "tls" true;
    opus_by_tls_with_srtp: "opus" "tls" true, "opus" "tls" true;
    g722_by_tls_with_srtp_to_pcma_by_tcp_in_the_clear: "G722" "tls" true, "PCMA" "tcp" false;
    opus_by_udp_to_pcmu_by_tcp: "opus" "udp" false, "PCMU" "tcp" false;
    pcma_by_tls_to_g722_by_udp: "PCMA" "tls" false, "G722" "udp" false;
}
