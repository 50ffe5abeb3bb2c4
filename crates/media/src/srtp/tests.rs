//! RFC 3711's test vectors, and what an attacker may try.

use super::*;
use crate::rtp::Packet;
use proptest::prelude::*;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn keys(master: &str, salt: &str) -> Keys {
    let bytes = [hex(master), hex(salt)].concat();
    Keys(bytes.try_into().unwrap())
}

/// RFC 3711, appendix B.2.
#[test]
fn the_key_stream_is_the_rfcs() {
    let cipher = Aes128::new(&<[u8; 16]>::try_from(hex("2B7E151628AED2A6ABF7158809CF4F3C")).unwrap().into());
    let iv = <[u8; 16]>::try_from(hex("F0F1F2F3F4F5F6F7F8F9FAFBFCFD0000")).unwrap();
    let mut stream = vec![0; 0xff02 * 16];
    keystream(&cipher, iv, &mut stream);
    let blocks = [
        (0x0000, "E03EAD0935C95E80E166B16DD92B4EB4"),
        (0x0001, "D23513162B02D0F72A43A2FE4A5F97AB"),
        (0x0002, "41E95B3BB0A2E8DD477901E4FCA894C0"),
        (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
        (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
        (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
    ];
    for (number, expected) in blocks {
        assert_eq!(stream[number * 16..][..16], hex(expected), "block {number:#x}");
    }
}

/// RFC 3711, appendix B.3.
#[test]
fn the_derived_keys_are_the_rfcs() {
    let keys = keys("E1F97A0D3E018BE0D64FA32C06DE4139", "0EC675AD498AFEEBB6960B3AABE6");
    let session = SessionKeys::derive(&keys, 0);
    assert_eq!(session.salt[..], hex("30CBBC08863D8C85D49DB34A9AE1"));
    let mut block = [0; 16];
    keystream(&session.cipher, [0; 16], &mut block);
    let mut expected = [0; 16];
    let cipher = Aes128::new(&<[u8; 16]>::try_from(hex("C61E7A93744F39EE10734AFE3FF7A087")).unwrap().into());
    keystream(&cipher, [0; 16], &mut expected);
    assert_eq!(block, expected, "the session key");
    let auth =
        hex("CEBE321F6FF7716B6FD4AB49AF256A156D38BAA4 8F0A0ACF3C34E2359E6CDBCEE049646C43D9327AD175578EF7227098 \
         6371C10C9A369AC2F94A8C5FBCDDDC25 6D6E919A48B610EF17C2041E47403576 6B68642C59BBFC2F34DB60DBDFB2DC68");
    let mut block = hmac::digest::Key::<Hmac<Sha1>>::default();
    block[..AUTH_KEY_BYTES].copy_from_slice(&auth[..AUTH_KEY_BYTES]);
    let mut mac = Hmac::<Sha1>::new(&block);
    mac.update(b"packet");
    assert_eq!(session.sign(b"packet", &[]).finalize().into_bytes(), mac.finalize().into_bytes());
}

/// The vector of libsrtp's test driver: one packet of known plain and cipher text.
#[test]
fn a_packet_is_protected_as_by_libsrtp() {
    let keys = keys("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
    let plain = hex("800f1234decafbadcafebabe abababababababababababababababab");
    let protected = hex("800f1234decafbadcafebabe 4e55dc4ce79978d88ca4d215949d2402 b78d6acc99ea179b8dbb");
    let mut buffer = [plain.clone(), vec![0; MAX_OVERHEAD_BYTES]].concat();
    let mut sender = Srtp::new(Suite::AesCm128HmacSha1_80, &keys);
    let len = sender.protect(&mut buffer, plain.len()).unwrap();
    assert_eq!(buffer[..len], protected);
    let mut receiver = Srtp::new(Suite::AesCm128HmacSha1_80, &keys);
    let len = receiver.unprotect(&mut buffer[..len]).unwrap();
    assert_eq!(buffer[..len], plain);
}

/// The same driver's RTCP vector.
#[test]
fn a_report_is_protected_as_by_libsrtp() {
    let keys = keys("e1f97a0d3e018be0d64fa32c06de4139", "0ec675ad498afeebb6960b3aabe6");
    let plain = hex("81c8000bcafebabe abababababababababababababababab");
    let protected = hex("81c8000bcafebabe 7128035be487b9bdbef89041f977a5a8 80000001 993e08cd54d6c1230798");
    let mut sender = Srtp::new(Suite::AesCm128HmacSha1_80, &keys);
    sender.next_rtcp_index = 1;
    let mut buffer = [plain.clone(), vec![0; MAX_OVERHEAD_BYTES]].concat();
    let len = sender.protect_rtcp(&mut buffer, plain.len()).unwrap();
    assert_eq!(buffer[..len], protected);
    let mut receiver = Srtp::new(Suite::AesCm128HmacSha1_80, &keys);
    let len = receiver.unprotect_rtcp(&mut buffer[..len]).unwrap();
    assert_eq!(buffer[..len], plain);
}

fn pair(suite: Suite) -> (Srtp, Srtp) {
    let keys = Keys(std::array::from_fn(|n| n as u8));
    (Srtp::new(suite, &keys), Srtp::new(suite, &keys))
}

fn packet(sequence: u16) -> ([u8; 200], usize) {
    let mut buffer = [0; 200];
    let packet = Packet { marker: false, payload_type: 0, sequence, timestamp: 7, ssrc: 99, payload: &[5; 160] };
    let len = packet.write(&mut buffer).unwrap();
    (buffer, len)
}

#[test]
fn a_long_call_survives_the_wrap_with_loss_and_reordering() {
    for suite in [Suite::AesCm128HmacSha1_80, Suite::AesCm128HmacSha1_32] {
        let (mut sender, mut receiver) = pair(suite);
        let mut held_back = None;
        for n in 0..80_000_u32 {
            let (mut buffer, len) = packet(60_000_u16.wrapping_add(n as u16));
            let total = sender.protect(&mut buffer, len).unwrap();
            assert_eq!(total, len + suite.tag_bytes());
            match n % 50 {
                7 => held_back = Some((buffer, total)),
                8 | 9 => continue,
                _ => assert_eq!(receiver.unprotect(&mut buffer[..total]), Ok(len), "packet {n}"),
            }
            if n % 50 == 12
                && let Some((mut late, total)) = held_back.take()
            {
                assert_eq!(receiver.unprotect(&mut late[..total]), Ok(len), "the late one before {n}");
            }
        }
    }
}

#[test]
fn replays_and_forgeries_are_refused_and_change_nothing() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
    let (mut buffer, len) = packet(1);
    let total = sender.protect(&mut buffer, len).unwrap();
    let original = buffer;
    for bit in 0..total * 8 {
        let mut forged = original;
        forged[bit / 8] ^= 1 << (bit % 8);
        assert!(receiver.unprotect(&mut forged[..total]).is_err(), "bit {bit}");
    }
    assert_eq!(receiver.unprotect(&mut buffer[..total]), Ok(len), "the forgeries left no trace");
    assert_eq!(receiver.unprotect(&mut { original }[..total]), Err(SrtpError::Replay));
}

#[test]
fn rtcp_counts_up_and_refuses_replays() {
    let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_32);
    for _ in 0..200 {
        let mut buffer = [0; 128];
        let len = crate::rtcp::write_report(7, None, None, "somebody", false, &mut buffer).unwrap();
        let plain = buffer;
        let total = sender.protect_rtcp(&mut buffer, len).unwrap();
        assert_eq!(total, len + MAX_OVERHEAD_BYTES, "SRTCP has the long tag in both suites");
        let mut again = buffer;
        assert_eq!(receiver.unprotect_rtcp(&mut buffer[..total]), Ok(len));
        assert_eq!(buffer[..len], plain[..len]);
        assert_eq!(receiver.unprotect_rtcp(&mut again[..total]), Err(SrtpError::Replay));
    }
}

#[test]
fn a_buffer_without_room_for_the_tag_is_an_error() {
    let (mut sender, _) = pair(Suite::AesCm128HmacSha1_80);
    let (mut buffer, len) = packet(1);
    assert_eq!(sender.protect(&mut buffer[..len + 9], len), Err(SrtpError::BufferTooSmall));
    assert_eq!(sender.protect(&mut buffer[..10], len), Err(SrtpError::BufferTooSmall));
}

proptest! {
    #[test]
    fn garbage_never_panics_nor_passes(mut bytes in prop::collection::vec(any::<u8>(), 0..100), len in 0_usize..120) {
        let (mut sender, mut receiver) = pair(Suite::AesCm128HmacSha1_80);
        prop_assert!(receiver.unprotect(&mut bytes.clone()).is_err());
        prop_assert!(receiver.unprotect_rtcp(&mut bytes.clone()).is_err());
        let _ = sender.protect(&mut bytes.clone(), len);
        let _ = sender.protect_rtcp(&mut bytes, len);
    }
}
