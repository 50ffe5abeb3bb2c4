//! A carrier that tells the number of a line in every way that SIP has, as some do.

/// A message in which the line of this number names itself.
pub(super) fn told(text: &str, number: &str) -> String {
    let uri = format!("<sip:{number}@carrier.example>");
    let fields = format!(
        "P-Asserted-Identity: \"{number}\" {uri}, <tel:{number}>\r\nP-Preferred-Identity: {uri}\r\n\
         Remote-Party-ID: \"{number}\" {uri};party=calling;privacy=off\r\nDiversion: {uri};reason=unconditional\r\n\
         History-Info: {uri};index=1, {uri};index=1.1\r\nSubject: {number}\r\nUser-Agent: {number}\r\n"
    );
    let by_name = text.replace(&format!(": <sip:{number}@"), &format!(": \"{number}\" <sip:{number}@"));
    by_name.replacen("Contact: <sip:phone@", &format!("{fields}Contact: <sip:{number}@"), 1)
}

/// A session description in which it does.
pub(super) fn described(text: &str, number: &str) -> String {
    text.replacen("o=-", &format!("o={number}"), 1).replacen("s=-", &format!("s={number}"), 1)
}
