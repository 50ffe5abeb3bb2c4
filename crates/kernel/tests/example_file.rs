//! tandem.example.toml is generated from the declaration of the settings; this test fails when it is stale.
//! `TANDEM_TEST_UPDATE=1 cargo test -p kernel --test example_file` writes it anew.

use std::path::Path;

#[test]
fn tandem_example_toml_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tandem.example.toml");
    let generated = kernel::Config::example();
    if std::env::var_os("TANDEM_TEST_UPDATE").is_some() {
        std::fs::write(&path, &generated).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == generated,
        "tandem.example.toml is stale: TANDEM_TEST_UPDATE=1 cargo test -p kernel --test example_file"
    );
}
