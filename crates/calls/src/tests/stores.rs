//! Every statement prepares on both engines.

use kernel::db::testing::TestDb;

use crate::{
    bindings, browser_phones, concerning, directory, erasure, lines, masking, ports, public_numbers, queue, statistics,
    store, sweep, teams, trunks,
};

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    let statements = [
        bindings::ALL,
        browser_phones::ALL,
        concerning::ALL,
        directory::ALL,
        erasure::ALL,
        lines::ALL,
        masking::STATEMENTS,
        ports::ALL,
        public_numbers::ALL,
        statistics::ALL,
        store::ALL,
        sweep::ALL,
        teams::ALL,
        queue::STATEMENTS,
        trunks::ALL,
    ];
    for test in TestDb::each().await {
        assert_eq!(test.unpreparable(&statements).await, Vec::<String>::new());
    }
}
