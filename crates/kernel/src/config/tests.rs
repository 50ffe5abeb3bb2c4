//! Precedence, unknown keys, bad values, and the example file.

use proptest::prelude::*;

use super::*;

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
}

fn load(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("t.toml");
    std::fs::write(&path, file).unwrap();
    Config::load(&Sources { file: Some(path), variables: pairs(variables), flags: pairs(flags) })
}

fn refusal(file: &str, variables: &[(&str, &str)], flags: &[(&str, &str)]) -> String {
    load(file, variables, flags).unwrap_err().to_string()
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = load("", &[], &[]).unwrap();
    assert_eq!(config.http.to_string(), "127.0.0.1:8080");
    assert_eq!(config.sip.len(), 2);
    assert_eq!(config.rtp_ports.to_string(), "10000-19999");
    assert_eq!(config.rtc.iter().map(|address| address.port()).collect::<Vec<_>>(), [3479, 3479]);
    assert_eq!(config.data, PathBuf::from("tandem-data"));
}

#[test]
fn flags_win_over_variables_over_the_file() {
    let file = "http = \"127.0.0.1:1\"\n[limits]\ncalls_per_second = 1\nconcurrent_calls = 7\n";
    let variables = [("TANDEM_HTTP", "127.0.0.1:2"), ("TANDEM_LIMITS_CALLS_PER_SECOND", "2")];
    let flags = [("http", "127.0.0.1:3")];
    assert_eq!(load(file, &[], &[]).unwrap().http.port(), 1);
    assert_eq!(load(file, &variables, &[]).unwrap().http.port(), 2);
    let all = load(file, &variables, &flags).unwrap();
    assert_eq!((all.http.port(), all.limits.calls_per_second), (3, 2));
    assert_eq!(all.limits.concurrent_calls, 7, "a section is merged key by key");
}

#[test]
fn lists_come_with_commas_repeated_or_alone() {
    let allow = |file, variables: &[_], flags: &[_]| load(file, variables, flags).unwrap().egress.allow;
    let file = "[egress]\nallow = [\"10.0.0.0/8\"]";
    assert_eq!(allow(file, &[], &[]), ["10.0.0.0/8"]);
    assert_eq!(allow("[egress]\nallow = \"crm:1\"", &[], &[]), ["crm:1"]);
    let variable = ("TANDEM_EGRESS_ALLOW", "127.0.0.1:8080, crm.internal:8443");
    assert_eq!(allow(file, &[variable], &[]), ["127.0.0.1:8080", "crm.internal:8443"], "the variable wins");
    let twice = [("egress.allow", "a"), ("egress.allow", "b")];
    assert_eq!(allow(file, &[variable], &twice), ["a", "b"]);
}

#[test]
fn an_unknown_key_is_named_wherever_it_stands() {
    assert!(refusal("htp = \"x\"", &[], &[]).contains("\"htp\""));
    assert!(refusal("[limits]\ncals = 1", &[], &[]).contains("\"limits.cals\""));
    assert!(refusal("[limit]\ncalls_per_second = 1", &[], &[]).contains("\"limit.calls_per_second\""));
    assert!(refusal("", &[("TANDEM_HTP", "x")], &[]).contains("TANDEM_HTP"));
    assert!(refusal("", &[], &[("rtp-ports", "1-2")]).contains("--rtp-ports"));
    load("", &[("TANDEM_SERVICE_HOST", "x"), ("TANDEM_PORT_80_TCP", "y"), ("PATH", "z")], &[]).unwrap();
}

#[test]
fn a_bad_value_is_named_with_its_place() {
    let said = refusal("", &[("TANDEM_LIMITS_CALLS_PER_SECOND", "many")], &[]);
    assert!(said.starts_with("TANDEM_LIMITS_CALLS_PER_SECOND: limits.calls_per_second: "), "{said}");
    let said = refusal("http = 8080", &[], &[]);
    assert!(said.contains("t.toml: http: "), "{said}");
    assert!(refusal("", &[], &[("rtp_ports", "20-10")]).contains("--rtp-ports"));
    assert!(refusal("http = ", &[], &[]).contains("t.toml"));
    assert!(refusal("limits = 3", &[], &[]).contains("\"limits\""));
    assert!(refusal("[limits]\ncalls_per_second = -1", &[], &[]).contains("calls_per_second"));
}

#[test]
fn settings_that_do_not_go_together_are_refused_in_a_sentence() {
    assert!(refusal("", &[], &[("bus", "nats://x")]).contains("one node"));
    assert!(refusal("", &[], &[("https", "127.0.0.1:1")]).contains("certificate"));
    assert!(refusal("", &[], &[("tls_cert", "x.pem")]).contains("belong together"));
    assert!(refusal("", &[], &[("public_url", "calls.example.org")]).contains("public_url"));
    assert!(refusal("", &[], &[("speech.provider", "https://x.test/?a")]).contains("speech.provider"));
    assert!(refusal("", &[], &[("database", "mysql://x")]).contains("sqlite://"));
    assert!(refusal("", &[], &[("egress.allow", "10.0.0.0/99")]).contains("egress.allow"));
    assert!(refusal("", &[], &[("rtp_ports", "9-9")]).contains("two ports"));
    assert!(refusal("", &[], &[("media.ice_servers", "turn.example.org")]).contains("stun:"));
    assert!(refusal("", &[], &[("media.ice_servers", "turn:turn.example.org")]).contains("turn_secret"));
}

#[test]
fn providers_of_mail_and_sms_are_named_whole() {
    let mail = "[mail]\nserver = \"smtp.example.org\"\nfrom = \"Tandem <calls@example.org>\"\n";
    let config = load(mail, &[("TANDEM_MAIL_USER", "u"), ("TANDEM_MAIL_PASSWORD", "hunter2")], &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert_eq!(config.mail.security.port(), 587);
    assert!(refusal("[mail]\nserver = \"smtp.example.org\"", &[], &[]).contains("mail.from"));
    assert!(refusal(mail, &[("TANDEM_MAIL_SERVER", "smtp://x")], &[]).contains("mail.server"));
    assert!(refusal(mail, &[("TANDEM_MAIL_SECURITY", "ssl")], &[]).contains("starttls, tls or none"));
    assert!(refusal(mail, &[("TANDEM_MAIL_USER", "u")], &[]).contains("belong together"));
    let clear = [("TANDEM_MAIL_USER", "u"), ("TANDEM_MAIL_PASSWORD", "p"), ("TANDEM_MAIL_SECURITY", "none")];
    assert!(refusal(mail, &clear, &[]).contains("a password needs"));

    let sms = "[sms]\nurl = \"https://sms.example.org/send\"\nfrom = \"Acme\"\n";
    load(sms, &[("TANDEM_SMS_TOKEN", "t")], &[]).unwrap();
    assert!(refusal("[sms]\nurl = \"https://sms.example.org/send\"", &[], &[]).contains("sms.from"));
    assert!(refusal(sms, &[("TANDEM_SMS_URL", "https://u:p@sms.example.org")], &[]).contains("sms.url"));
    assert!(refusal(sms, &[("TANDEM_SMS_PASSWORD", "p")], &[]).contains("belong together"));
    assert!(refusal(sms, &[("TANDEM_SMS_JSON", "{\"to\": \"{to}\"}")], &[]).contains("sms.json"));
    let both = [("TANDEM_SMS_USER", "u"), ("TANDEM_SMS_PASSWORD", "p"), ("TANDEM_SMS_TOKEN", "t")];
    assert!(refusal(sms, &both, &[]).contains("give one of them"));
}

#[test]
fn the_file_in_data_is_read_and_a_named_one_must_exist() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().to_str().unwrap().to_owned();
    let sources = Sources { flags: vec![("data".into(), data)], ..Sources::default() };
    Config::load(&sources).unwrap();
    std::fs::write(dir.path().join("tandem.toml"), "node = \"b\"").unwrap();
    assert_eq!(Config::load(&sources).unwrap().node, "b");
    let gone = Sources { file: Some(dir.path().join("gone.toml")), ..Sources::default() };
    assert!(matches!(Config::load(&gone), Err(ConfigError::File { .. })));
}

#[test]
fn the_database_password_is_not_printed() {
    let config = load("", &[("TANDEM_DATABASE", "postgres://u:hunter2@h/d")], &[]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn the_example_shows_every_key_and_is_itself_a_good_file() {
    let example = Config::example();
    let mut without_comments = String::new();
    for line in example.lines() {
        let setting = line
            .strip_prefix("# ")
            .filter(|rest| rest.split_once(" = ").is_some_and(|(name, _)| Config::keys().any(|key| key.name == name)));
        without_comments += setting.unwrap_or(if line.starts_with('[') { line } else { "" });
        without_comments.push('\n');
    }
    let table: Table = without_comments.parse().unwrap();
    for key in Config::keys() {
        assert!(get(&table, key).is_some(), "{} is missing", key.dotted());
    }
    let mut merged = Table::new();
    read_text(Path::new("example"), &without_comments, &mut merged).unwrap();
}

proptest! {
    /// Whoever speaks last in the order default, file, variable, flag is heard.
    #[test]
    fn precedence(file in prop::option::of(1u32..1000), variable in prop::option::of(1u32..1000), flag in prop::option::of(1u32..1000)) {
        let text = file.map(|n| format!("drain_seconds = {n}")).unwrap_or_default();
        let variable_text = variable.map(|n| n.to_string()).unwrap_or_default();
        let flag_text = flag.map(|n| n.to_string()).unwrap_or_default();
        let variables: Vec<_> = variable.iter().map(|_| ("TANDEM_DRAIN_SECONDS", variable_text.as_str())).collect();
        let flags: Vec<_> = flag.iter().map(|_| ("drain_seconds", flag_text.as_str())).collect();
        let expected = flag.or(variable).or(file).unwrap_or(30);
        prop_assert_eq!(load(&text, &variables, &flags).unwrap().drain_seconds, expected);
    }
}

#[test]
fn a_wrong_flag_says_its_name_its_value_and_what_is_wanted() {
    for (key, value, said) in [
        ("http", "nonsense", "--http: \"nonsense\" is not an address and a port such as 127.0.0.1:8080"),
        ("sip", "127.0.0.1", "--sip: [\"127.0.0.1\"] is not an address and a port"),
        ("public_ip", "host", "--public-ip: \"host\" is not an IP address"),
        ("rtp_ports", "5", "--rtp-ports: \"5\" is not a range of ports"),
        ("trusted_proxy", "x", "--trusted-proxy: [\"x\"] is not a network"),
        ("drain_seconds", "soon", "--drain-seconds: \"soon\" is not a whole number"),
    ] {
        let refused = load("", &[], &[(key, value)]).unwrap_err().to_string();
        assert!(refused.contains(said), "{refused}");
    }
    let refused = load("", &[("TANDEM_SIP", "5060")], &[]).unwrap_err().to_string();
    assert!(refused.contains("TANDEM_SIP") && refused.contains("sip: [\"5060\"] is not"), "{refused}");
    let refused = load("[speech]\napi_key = 4711\n", &[], &[]).unwrap_err().to_string();
    assert!(!refused.contains("4711"), "a secret is not shown: {refused}");
}
