//! Links that work once, passwords, and the limits on guessing either.

use super::*;
use crate::kernel::testing::{self, TestKernel};
use crate::org::NewOrg;
use crate::person::NewPerson;
use crate::principal::Principal;

const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

async fn org(kernel: &TestKernel, name: &str) -> String {
    kernel.create_org(NewOrg { name: name.into(), ..NewOrg::default() }).await.unwrap().id
}

async fn ann(kernel: &TestKernel, org: &str, password: &str) -> Identity {
    let new = NewPerson {
        name: "Ann".into(),
        email: Some("ann@example.org".into()),
        password: Some(password.into()),
        ..NewPerson::default()
    };
    let person = kernel.create_person(org, new).await.unwrap().0.id;
    Identity::Person { org: org.to_owned(), person }
}

#[tokio::test]
async fn a_link_signs_in_once_and_only_for_a_quarter_of_an_hour() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        let whose = ann(&kernel, &dev, "correct horse").await;
        let link = kernel.create_link(&whose).await.unwrap();
        assert_eq!(kernel.read_link(link.expose()).await.unwrap(), Some(whose.clone()), "looking does not use it up");
        assert_eq!(kernel.take_link(link.expose()).await.unwrap(), Some(whose.clone()));
        assert_eq!(kernel.take_link(link.expose()).await.unwrap(), None);
        assert_eq!(kernel.read_link(link.expose()).await.unwrap(), None);

        let late = kernel.create_link(&whose).await.unwrap();
        kernel.hand.advance(LINK_LIFE_MS);
        assert_eq!(kernel.take_link(late.expose()).await.unwrap(), None);
        for wrong in ["sl_wrong", "", "pt_wrong", &"sl_".repeat(100)] {
            assert_eq!(kernel.take_link(wrong).await.unwrap(), None);
        }
        let Identity::Person { org, person } = &whose else { panic!("a person") };
        let link = kernel.create_link(&whose).await.unwrap();
        kernel.disable_person(org, person).await.unwrap();
        assert_eq!(kernel.take_link(link.expose()).await.unwrap(), None, "disabled");
    }
}

#[tokio::test]
async fn two_at_once_cannot_use_one_link() {
    for kernel in testing::each().await {
        let admin = Identity::Administrator(kernel.find_administrator(None).await.unwrap().id);
        let link = kernel.create_link(&admin).await.unwrap();
        let (one, two) = tokio::join!(kernel.take_link(link.expose()), kernel.take_link(link.expose()));
        let taken = [one.unwrap(), two.unwrap()];
        assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    }
}

#[tokio::test]
async fn a_password_tells_the_organisations_of_one_mail_address_apart() {
    for kernel in testing::each().await {
        let (a, b) = (org(&kernel, "a").await, org(&kernel, "b").await);
        let in_a = ann(&kernel, &a, "correct horse").await;
        kernel.hand.advance(1);
        let in_b = ann(&kernel, &b, "battery staple").await;
        let ask = async |org: &str, password: &str| {
            kernel.sign_in_by_password(org, " Ann@example.org", &password.into(), HOME).await.unwrap()
        };
        assert_eq!(ask("", "correct horse").await, std::slice::from_ref(&in_a));
        assert_eq!(ask("", "battery staple").await, std::slice::from_ref(&in_b));
        assert_eq!(ask(&b, "correct horse").await, [], "a host name that stands for b opens b only");
        assert_eq!(ask("", "wrong").await, []);
        let Identity::Person { org, person } = &in_b else { panic!("a person") };
        kernel.set_password(org, person, &"correct horse".into()).await.unwrap();
        assert_eq!(ask("", "correct horse").await, [in_a, in_b]);
    }
}

#[tokio::test]
async fn guessing_meets_a_limit_that_success_lifts_and_others_do_not_feel() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        ann(&kernel, &dev, "correct horse").await;
        let ask = async |email: &str, password: &str, from: &str| {
            kernel.sign_in_by_password("", email, &password.into(), from.parse().unwrap()).await
        };
        let mut tries = 0;
        while ask("ann@example.org", "wrong", "192.0.2.1").await.is_ok() {
            tries += 1;
            assert!(tries < 50, "no limit");
        }
        assert_eq!(tries, 10);
        assert!(matches!(ask("ann@example.org", "correct horse", "192.0.2.1").await, Err(SignInError::Wait(_))));
        assert_eq!(ask("ann@example.org", "correct horse", "198.51.100.1").await.unwrap().len(), 1);
        assert_eq!(ask("ben@example.org", "wrong", "192.0.2.1").await.unwrap(), []);
        kernel.hand.advance(60_000);
        assert_eq!(ask("ann@example.org", "correct horse", "192.0.2.1").await.unwrap().len(), 1);
        assert_eq!(ask("ann@example.org", "wrong", "192.0.2.1").await.unwrap(), [], "the count began anew");
    }
}

#[tokio::test]
async fn an_administrator_chooses_an_organisation_before_it_may_do_anything() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        assert!(!kernel.has_administrator().await.unwrap());
        let admin = kernel.find_administrator(None).await.unwrap().id;
        assert!(!kernel.has_administrator().await.unwrap(), "it has never signed in");
        let cookie = kernel.sign_in(&Identity::Administrator(admin.clone()), HOME, "Browser").await.unwrap();
        assert!(kernel.has_administrator().await.unwrap());

        let credential = async || kernel.authenticate_session(cookie.expose()).await.unwrap().unwrap();
        let before = credential().await;
        for action in crate::role::actions() {
            assert!(before.principal.authorize(action).is_err(), "{action:?} without an organisation");
        }
        assert!(kernel.look_at_org(&admin, &before.id, "org_none").await.is_err());
        assert!(kernel.look_at_org("adm_other", &before.id, &dev).await.is_err());
        kernel.look_at_org(&admin, &before.id, &dev).await.unwrap();
        let after = credential().await;
        assert!(matches!(&after.principal, Principal::Administrator { org, .. } if **org == *dev));
        for action in crate::role::actions() {
            assert_eq!(**after.principal.authorize(action).unwrap(), *dev, "{action:?}");
        }
    }
}

#[tokio::test]
async fn a_new_password_ends_every_other_session_and_link() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        let admin = Identity::Administrator(kernel.find_administrator(Some("root@example.org")).await.unwrap().id);
        for whose in [ann(&kernel, &dev, "correct horse").await, admin] {
            let here = kernel.sign_in(&whose, HOME, "here").await.unwrap();
            let there = kernel.sign_in(&whose, HOME, "there").await.unwrap();
            let link = kernel.create_link(&whose).await.unwrap();
            let who = async |cookie: &Secret| kernel.authenticate_session(cookie.expose()).await.unwrap();
            let this = who(&here).await.unwrap().id;
            assert!(kernel.change_password(&whose, &"short".into(), &this).await.is_err());
            assert!(who(&there).await.is_some(), "a refused password changes nothing");
            kernel.change_password(&whose, &"battery staple".into(), &this).await.unwrap();
            assert!(who(&here).await.is_some());
            assert!(who(&there).await.is_none());
            assert_eq!(kernel.take_link(link.expose()).await.unwrap(), None);
            let email = kernel.identity(&whose).await.unwrap().email.unwrap();
            let signed = kernel.sign_in_by_password("", &email, &"battery staple".into(), HOME).await.unwrap();
            assert_eq!(signed, [whose]);
        }
    }
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for db in crate::db::testing::TestDb::each().await {
        assert_eq!(db.unpreparable(&[ALL, crate::administrator::ALL]).await, Vec::<String>::new());
    }
}
