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

/// Whether a link signs in.
async fn opens(kernel: &TestKernel, link: &str) -> bool {
    kernel.sign_in_by_link(link, None, HOME, "Browser").await.unwrap().is_some()
}

#[tokio::test]
async fn a_link_signs_in_once_and_only_for_a_quarter_of_an_hour() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        let whose = ann(&kernel, &dev, "correct horse").await;
        let link = kernel.create_link(&whose).await.unwrap();
        assert_eq!(kernel.read_link(link.expose()).await.unwrap(), Some(whose.clone()), "looking does not use it up");
        let cookie = kernel.sign_in_by_link(link.expose(), None, HOME, "Browser").await.unwrap().unwrap();
        assert!(kernel.authenticate_session(cookie.expose()).await.unwrap().is_some());
        assert!(!opens(&kernel, link.expose()).await);
        assert_eq!(kernel.read_link(link.expose()).await.unwrap(), None);

        let late = kernel.create_link(&whose).await.unwrap();
        kernel.hand.advance(LINK_LIFE_MS);
        assert!(!opens(&kernel, late.expose()).await);
        for (late_ms, is_good) in [(INVITATION_LIFE_MS - 1, true), (INVITATION_LIFE_MS, false)] {
            let (invitation, write) = kernel.draft_invitation(&whose);
            kernel.db.writer().commit(vec![write]).await.unwrap();
            kernel.hand.advance(late_ms);
            assert_eq!(opens(&kernel, invitation.expose()).await, is_good, "{late_ms}");
        }
        for wrong in ["sl_wrong", "", "pt_wrong", &"sl_".repeat(100)] {
            assert!(!opens(&kernel, wrong).await);
        }
        let Identity::Person { org, person } = &whose else { panic!("a person") };
        let link = kernel.create_link(&whose).await.unwrap();
        let heir = NewPerson { name: "Heir".into(), role: Some(crate::role::Role::Owner), ..NewPerson::default() };
        kernel.create_person(org, heir).await.unwrap();
        kernel.disable_person(org, person).await.unwrap();
        assert!(!opens(&kernel, link.expose()).await, "disabled");
    }
}

#[tokio::test]
async fn two_at_once_cannot_use_one_link() {
    for kernel in testing::each().await {
        let admin = Identity::Administrator(kernel.find_administrator(None).await.unwrap().id);
        let link = kernel.create_link(&admin).await.unwrap();
        let (one, two) = tokio::join!(opens(&kernel, link.expose()), opens(&kernel, link.expose()));
        assert!(one ^ two, "{one} {two}");
        assert_eq!(kernel.sessions_of(&admin).await.unwrap().len(), 1, "whoever came too late has no session");
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
            assert!(!opens(&kernel, link.expose()).await);
            let email = kernel.identity(&whose).await.unwrap().email.unwrap();
            let signed = kernel.sign_in_by_password("", &email, &"battery staple".into(), HOME).await.unwrap();
            assert_eq!(signed, [whose]);
        }
    }
}

#[tokio::test]
async fn a_refused_sign_in_takes_as_long_whoever_was_named() {
    for kernel in testing::each().await {
        for name in ["a", "b", "c"] {
            let org = org(&kernel, name).await;
            kernel.hand.advance(1);
            ann(&kernel, &org, "correct horse").await;
        }
        for email in ["nobody@example.org", "ann@example.org"] {
            let wrong = Secret::from("wrong");
            let signed = kernel.sign_in_by_password("", email, &wrong, HOME);
            let mut signed = std::pin::pin!(signed);
            let early = tokio::time::timeout(REFUSED_AFTER / 2, &mut signed).await;
            assert!(early.is_err(), "{email} is refused before its time");
            assert_eq!(signed.await.unwrap(), []);
        }
    }
}

#[tokio::test]
async fn links_are_counted_apart_from_passwords() {
    for kernel in testing::each().await {
        let guess = async || kernel.sign_in_by_password("", "ann@example.org", &"wrong".into(), HOME).await;
        while guess().await.is_ok() {}
        let ask = |email: &str| kernel.may_ask_for_link(email, HOME);
        let asked = (0..50).take_while(|_| ask(" Ann@Example.org").is_ok()).count();
        assert_eq!(asked, 5, "guessing locks no links, and links have a limit of their own");
        assert!(ask("ben@example.org").is_ok(), "others do not feel it");
        kernel.hand.advance(60_000);
        assert!(ask("ann@example.org").is_ok());
    }
}

#[tokio::test]
async fn a_session_is_fresh_when_a_link_made_it_a_moment_ago() {
    for kernel in testing::each().await {
        let dev = org(&kernel, "dev").await;
        let admin = Identity::Administrator(kernel.find_administrator(Some("root@example.org")).await.unwrap().id);
        for whose in [ann(&kernel, &dev, "correct horse").await, admin] {
            let id_of = async |cookie: &Secret| {
                kernel.authenticate_session(cookie.expose()).await.unwrap().unwrap().id.to_string()
            };
            let by_password = id_of(&kernel.sign_in(&whose, HOME, "").await.unwrap()).await;
            kernel.hand.advance(1);
            let link = kernel.create_link(&whose).await.unwrap();
            let password = Secret::from("battery staple");
            let by_link = kernel.sign_in_by_link(link.expose(), Some(&password), HOME, "").await.unwrap().unwrap();
            let by_link = id_of(&by_link).await;
            assert!(kernel.is_fresh_by_link(&whose, &by_link).await.unwrap());
            assert!(!kernel.is_fresh_by_link(&whose, &by_password).await.unwrap());
            assert_eq!(kernel.sessions_of(&whose).await.unwrap().len(), 1, "the new password ended the other one");
            kernel.hand.advance(LINK_LIFE_MS);
            assert!(!kernel.is_fresh_by_link(&whose, &by_link).await.unwrap());

            let is_right = async |password: &str| kernel.is_own_password(&whose, &password.into(), HOME).await.unwrap();
            assert!(is_right("battery staple").await && !is_right("correct horse").await);
            let nobody = Identity::Person { org: dev.clone(), person: "per_none".to_owned() };
            assert!(!kernel.is_own_password(&nobody, &"battery staple".into(), HOME).await.unwrap());
            assert!(kernel.change_password(&nobody, &password, "").await.is_err());
        }
    }
}

#[tokio::test]
async fn every_statement_prepares_on_both_engines() {
    for db in crate::db::testing::TestDb::each().await {
        assert_eq!(db.unpreparable(&[ALL, crate::administrator::ALL]).await, Vec::<String>::new());
    }
}
