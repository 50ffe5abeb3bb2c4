//! The story of the store, on each engine at hand.
#[tokio::test]
async fn every_statement_can_be_prepared() {
    for test in kernel::db::testing::TestDb::each().await {
        assert_eq!(test.unpreparable(&[super::ALL, super::callbacks::ALL]).await, Vec::<String>::new());
    }
}
