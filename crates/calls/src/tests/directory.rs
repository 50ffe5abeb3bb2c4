//! Who has which number, on both engines, with changes by this process and by another.

use kernel::db::testing::TestDb;
use kernel::org::NewOrg;
use kernel::{Kernel, RecordError};
use voice::ports::{Ports, Transport};

use super::stage::*;
use crate::*;

async fn resolved(stage: &Stage, number: &str) -> Result<Destination, NumberError> {
    match stage.directory.resolve(&stage.org.id, number).await {
        Ok(destination) => Ok(destination),
        Err(ResolveError::Number(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

fn is_person(destination: Result<Destination, NumberError>, extension: &str) -> bool {
    matches!(destination, Ok(Destination::Person(person)) if &*person.extension == extension)
}

async fn bind(stage: &Stage, number: &str, to: &str) {
    let bound = Bound::parse(to).unwrap();
    let view = bind_number(&stage.kernel, &stage.org.id, number, &bound).await.unwrap();
    assert_eq!(view.to, to);
}

#[tokio::test]
async fn numbers_lead_inside_first_then_out() {
    for db in TestDb::each().await {
        let stage = Stage::on(db).await;
        stage.person("1001", 0).await;
        stage.person("1002", 0).await;
        let team = NewTeam {
            name: "Help".into(),
            number: "5263".into(),
            members: vec!["1002".into(), "1001".into()],
            ..NewTeam::default()
        };
        create_team(&stage.kernel, &stage.org.id, team).await.unwrap();
        bind(&stage, "442071838750", "person:1001").await;
        bind(&stage, "+442071838751", "team:5263").await;
        bind(&stage, "+442071838752", "flow:flow_1").await;
        bind(&stage, "+442071838753", "meetings").await;

        assert!(is_person(resolved(&stage, "1001").await, "1001"));
        let Ok(Destination::Team(team)) = resolved(&stage, "5263").await else { panic!("a team") };
        assert_eq!(team.members.iter().map(|it| &**it).collect::<Vec<_>>(), ["1002", "1001"], "in the order given");
        assert!(is_person(resolved(&stage, "442071838750").await, "1001"), "its number rings the person's phones");
        assert!(matches!(resolved(&stage, "+44 20 7183 8751").await, Ok(Destination::Team(_))));
        let flow = Destination::OwnNumber { e164: "+442071838752".into(), bound: Bound::Flow("flow_1".into()) };
        assert_eq!(resolved(&stage, "+442071838752").await, Ok(flow));
        assert!(matches!(
            resolved(&stage, "442071838753").await,
            Ok(Destination::OwnNumber { bound: Bound::Meetings, .. })
        ));
        assert_eq!(resolved(&stage, "14155550100").await, Ok(Destination::Outside("+14155550100".into())));
        let refused = [
            ("1003", NumberError::Unknown),
            ("999", NumberError::NotAllowed),
            ("+19005550100", NumberError::NotAllowed),
            ("sip:a@example.org", NumberError::NotAllowed),
            ("+12", NumberError::Invalid),
        ];
        for (number, error) in refused {
            assert_eq!(resolved(&stage, number).await, Err(error), "{number}");
        }
        let numbers = public_numbers(&stage.kernel, &stage.org.id).await.unwrap();
        assert_eq!(numbers.len(), 4);
        assert!(release_number(&stage.kernel, &stage.org.id, "442071838750").await.unwrap());
        assert!(!release_number(&stage.kernel, "org_other", "442071838751").await.unwrap());
        assert!(matches!(resolved(&stage, "442071838750").await, Ok(Destination::Outside(_))), "seen at once");
    }
}

#[tokio::test]
async fn another_organisation_sees_nothing_of_it() {
    let stage = Stage::new().await;
    stage.person("1001", 1).await;
    bind(&stage, "+442071838750", "person:1001").await;
    let other = stage.kernel.create_org(NewOrg { name: "Other".into(), ..NewOrg::default() }).await.unwrap();
    assert!(stage.directory.resolve(&other.id, "1001").await.is_err());
    let out = stage.directory.resolve(&other.id, "+442071838750").await.unwrap();
    assert_eq!(out, Destination::Outside("+442071838750".into()));
    assert!(stage.directory.bindings(&other.id, "1001").is_empty());
    let to_ours = bind_number(&stage.kernel, &other.id, "+442071838759", &Bound::Person("1001".into())).await;
    assert!(matches!(to_ours, Err(RecordError::NotFound { .. })));
}

#[tokio::test]
async fn a_change_by_another_process_is_seen_within_a_quarter_of_a_second() {
    let stage = Stage::new().await;
    assert_eq!(resolved(&stage, "+14155550100").await, Ok(Destination::Outside("+14155550100".into())));
    // Another process: the same store, another bus.
    let config = kernel::Config { data: stage.data(), ..kernel::Config::default() };
    let other = Kernel::assemble(
        config,
        stage.kernel.db.clone(),
        kernel::Bus::local(),
        stage.kernel.clock.clone(),
        kernel::Ids::os(),
    )
    .unwrap();
    bind_number(&other, &stage.org.id, "+14155550100", &Bound::Flow("f".into())).await.unwrap();
    let new = NewTrunk { name: "b".into(), targets: vec!["192.0.2.9".into()], ..NewTrunk::default() };
    create_trunk(&other, &stage.org.id, new).await.unwrap();
    assert!(matches!(resolved(&stage, "+14155550100").await, Ok(Destination::Outside(_))), "from memory");
    let before = stage.reloads();
    stage.hand.advance(250);
    assert!(matches!(resolved(&stage, "+14155550100").await, Ok(Destination::OwnNumber { .. })));
    assert_eq!(stage.reloads(), before + 1, "voice is told that trunks may have changed");
}

#[tokio::test]
async fn the_caller_id_outside_is_the_organisations_own() {
    let stage = Stage::new().await;
    stage.person("1001", 0).await;
    let shown = async |wanted: Option<&str>, outside| {
        let chosen = stage.directory.caller_id(&stage.org.id, wanted, Some("1001"), outside).await.unwrap();
        (chosen.number, chosen.replaced)
    };
    assert_eq!(shown(Some("+14155550199"), true).await, (None, true), "anonymous when there is nothing to show");
    stage.trunk("+442071838751").await;
    assert_eq!(shown(Some("+14155550199"), true).await, (Some("+442071838751".into()), true));
    assert_eq!(shown(Some("442071838751"), true).await, (Some("+442071838751".into()), false), "the carrier's number");
    bind(&stage, "+442071838750", "person:1001").await;
    assert_eq!(shown(None, true).await, (Some("+442071838750".into()), false), "the first own number");
    assert_eq!(shown(None, false).await, (Some("1001".into()), false));
}

#[tokio::test]
async fn a_person_gets_a_line_whose_domain_is_free() {
    let stage = Stage::new().await;
    let made = async |org: &kernel::Org, extension: &str| {
        let new = NewUser { name: "Ann".into(), extension: Some(extension.into()), ..NewUser::default() };
        create_user(&stage.kernel, org, new).await
    };
    let first = made(&stage.org, "1001").await.unwrap();
    let sip = first.sip.unwrap();
    assert_eq!((sip.username.as_str(), sip.domain.as_str()), ("1001", "127.0.0.1"));
    assert_eq!(sip.password.expose().len(), 24);
    let credential = Ports::credential(&*stage.directory, "", "1001").await.unwrap().unwrap();
    assert_eq!((credential.realm.as_str(), &*credential.identity.extension), ("tandem", "1001"));
    let ha1 = format!("1001:tandem:{}", sip.password.expose());
    assert_eq!(credential.ha1_sha256.expose(), kernel::secret::token_hash(&ha1));
    assert_eq!(credential.ha1_md5.expose().len(), 32);
    assert!(matches!(made(&stage.org, "1001").await, Err(RecordError::Taken { field: "extension", .. })));
    for bad in ["1", "12345678", "10a1", "112"] {
        assert!(matches!(made(&stage.org, bad).await, Err(RecordError::Invalid { field: "extension", .. })), "{bad}");
    }

    let second = stage.kernel.create_org(NewOrg { name: "Second Ltd".into(), ..NewOrg::default() }).await.unwrap();
    let sip = made(&second, "1001").await.unwrap().sip.unwrap();
    assert_eq!(sip.domain, format!("{}.localhost", second.slug), "1001 is taken at the server's address");
    let domain = Ports::domain(&*stage.directory, &sip.domain.to_uppercase()).await.unwrap();
    assert_eq!(domain.as_deref(), Some(sip.domain.as_str()));
    let own = NewOrg { name: "Third".into(), sip_domain: Some("sip.third.example".into()), ..NewOrg::default() };
    let third = stage.kernel.create_org(own).await.unwrap();
    assert_eq!(made(&third, "1001").await.unwrap().sip.unwrap().domain, "sip.third.example");
    for (host, stored) in [
        ("127.0.0.1", Some("")),
        ("[::1]", Some("")),
        ("localhost", Some("")),
        ("Sip.Third.Example", Some("sip.third.example")),
        ("nobody.localhost", None),
        ("elsewhere.example", None),
    ] {
        assert_eq!(Ports::domain(&*stage.directory, host).await.unwrap().as_deref(), stored, "{host}");
    }
    let plain = NewUser { name: "Bea".into(), ..NewUser::default() };
    assert!(create_user(&stage.kernel, &stage.org, plain).await.unwrap().sip.is_none());
}

#[tokio::test]
async fn teams_take_members_that_exist_and_a_known_strategy() {
    let stage = Stage::new().await;
    stage.person("1001", 0).await;
    let draft = NewTeam { name: "Help".into(), number: "5263".into(), ..NewTeam::default() };
    let make = async |team: NewTeam| create_team(&stage.kernel, &stage.org.id, team).await;
    let other = NewTeam { strategy: Some("by_height".into()), ..draft.clone() };
    let refused = make(other).await.unwrap_err().to_string();
    assert!(refused.contains("ring_all") && refused.contains("by_height"), "{refused}");
    let slow = NewTeam { wrap_up_s: Some(-1), ..draft.clone() };
    assert!(matches!(make(slow).await, Err(RecordError::Invalid { field: "wrap_up_s", .. })));
    let nobody = NewTeam { members: vec!["1009".into()], ..draft.clone() };
    assert!(matches!(make(nobody).await, Err(RecordError::NotFound { what: "extension", .. })));
    let taken = NewTeam { number: "1001".into(), ..draft.clone() };
    assert!(matches!(make(taken).await, Err(RecordError::Taken { field: "number", .. })));
    make(NewTeam { members: vec!["1001".into()], ..draft }).await.unwrap();
    let new = NewUser { name: "Ann".into(), extension: Some("5263".into()), ..NewUser::default() };
    assert!(create_user(&stage.kernel, &stage.org, new).await.is_err(), "one number space");
    let made = teams(&stage.kernel, &stage.org.id).await.unwrap().remove(0);
    assert_eq!(
        (made.strategy, made.wrap_up_s, made.members.clone()),
        (TeamStrategy::RingAll, 0, vec!["1001".to_owned()])
    );
    let change = TeamChange {
        strategy: Some("longest_idle".into()),
        wrap_up_s: Some(30),
        members: Some(Vec::new()),
        ..TeamChange::default()
    };
    let changed = change_team(&stage.kernel, &stage.org.id, &made.id, change).await.unwrap();
    assert_eq!(team(&stage.kernel, &stage.org.id, &made.id).await.unwrap(), Some(changed.clone()));
    let expected = TeamRecord { strategy: TeamStrategy::LongestIdle, wrap_up_s: 30, members: Vec::new(), ..made };
    assert_eq!(changed, expected);
}

#[tokio::test]
async fn a_trunk_is_read_back_as_voice_needs_it() {
    for db in TestDb::each().await {
        let stage = Stage::on(db).await;
        let new = NewTrunk {
            name: "carrier".into(),
            targets: vec!["a.example:5080;transport=tcp".into(), "[2001:db8::1]".into()],
            username: Some("user".into()),
            password: Some(kernel::Secret::new("s3cret")),
            domain: Some("Carrier.example".into()),
            register: true,
            ping: true,
            srtp: true,
            caller_ids: vec!["442071838750".into()],
            pool: Vec::new(),
        };
        let id = create_trunk(&stage.kernel, &stage.org.id, new).await.unwrap();
        let read = Ports::trunks(&*stage.directory).await.unwrap();
        assert_eq!(read.len(), 1);
        let trunk = &read[0];
        assert_eq!((&*trunk.id, &*trunk.org), (id.as_str(), stage.org.id.as_str()));
        assert!(trunk.register && trunk.ping && trunk.srtp);
        assert_eq!(trunk.domain.as_deref(), Some("carrier.example"));
        assert_eq!(trunk.password.as_ref().map(|secret| secret.expose()), Some("s3cret"));
        let targets: Vec<_> = trunk.targets.iter().map(|it| (it.host.as_str(), it.port, it.transport)).collect();
        assert_eq!(targets, [("a.example", Some(5080), Transport::Tcp), ("2001:db8::1", None, Transport::Udp)]);
        let sealed = stage.kernel.db.one("select password_sealed from trunk", Vec::new()).await.unwrap().unwrap();
        assert!(!sealed.text("password_sealed").unwrap().contains("s3cret"));

        Ports::trunk_state(&*stage.directory, &stage.org.id, &id, voice::ports::TrunkState::AuthFailed).await.unwrap();
        assert_eq!(trunks(&stage.kernel, &stage.org.id).await.unwrap()[0].state, "auth_failed");
        let bare = NewTrunk { name: "x".into(), targets: vec!["h".into()], register: true, ..NewTrunk::default() };
        assert!(matches!(
            create_trunk(&stage.kernel, &stage.org.id, bare).await,
            Err(RecordError::Invalid { field: "register", .. })
        ));
    }
}

#[tokio::test]
async fn calls_are_listed_by_filter_and_page() {
    for db in TestDb::each().await {
        let stage = Stage::on(db).await;
        stage.person("1001", 0).await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            stage.hand.advance(1_000);
            let mut call = stage.calls.place(stage.new_call("1001")).await.unwrap();
            ended(&mut call).await;
            ids.push(call.id.to_string());
        }
        let mut out = stage.calls.place(stage.new_call("14155550100")).await.unwrap();
        ended(&mut out).await;
        stage.kernel.db.writer().flush().await.unwrap();
        let list = async |filter: CallFilter, limit| stage.calls.list(&stage.org.id, filter, limit).await.unwrap();
        let to_1001 = CallFilter { to: Some("1001".into()), ..CallFilter::default() };
        let first = list(to_1001.clone(), 2).await;
        assert_eq!(first.calls.iter().map(|call| &call.id).collect::<Vec<_>>(), [&ids[2], &ids[1]], "newest first");
        let second = list(CallFilter { cursor: first.cursor, ..to_1001 }, 2).await;
        assert_eq!((second.calls.len(), second.cursor), (1, None));
        let number = CallFilter { number: Some("14155550100".into()), ..CallFilter::default() };
        assert_eq!(list(number.clone(), 10).await.calls.len(), 1, "found without its plus");
        for spelled in ["+14155550100", " 14155550100", "+1 (415) 555-0100"] {
            let again = CallFilter { number: Some(spelled.into()), ..CallFilter::default() };
            assert_eq!(list(again, 10).await, list(number.clone(), 10).await, "{spelled}");
        }
        let live = CallFilter { state: Some(CallState::Answered), ..CallFilter::default() };
        assert_eq!(list(live, 10).await.calls.len(), 0);
        let inbound = CallFilter { direction: Some(Direction::Inbound), ..CallFilter::default() };
        assert_eq!(list(inbound, 10).await.calls.len(), 0);
        assert_eq!(stage.calls.list("org_other", CallFilter::default(), 10).await.unwrap().calls, []);
        assert_eq!(stage.calls.get("org_other", &ids[0]).await.unwrap(), None);
    }
}
