//! Who lives in the demo: the organisation, its two people, the team and the number, and the file that keeps
//! their secrets.
//!
//! Invariant: the secrets are random, live in demo.json (0600) beside the data, and are the same at every start
//! once that file is there; a demo that was killed before goes on where it stopped, with new ones.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use calls::{Bound, NewTeam, NewUser};
use kernel::org::NewOrg;
use kernel::{Kernel, Org, RecordError, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{AGENT, CUSTOMER, CliError, NUMBER, SLUG, TEAM};

/// Beside demo.json from before the organisation is made until its secrets are written.
const BEGUN: &str = "begun";

/// What the demo keeps.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    pub(super) org: String,
    pub(super) cloud_sid: String,
    pub(super) auth_token: String,
    pub(super) phones: Vec<Phone>,
    pub(super) endpoint: SocketAddr,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Phone {
    pub(super) user: String,
    pub(super) password: String,
}

/// Finds the household of an earlier start, or makes it.
///
/// # Errors
/// When the data belongs to something else than a demo.
pub(super) async fn settle(kernel: &Kernel, file: &Path, endpoint: SocketAddr) -> Result<Kept, CliError> {
    let begun = file.with_extension(BEGUN);
    let wrong = |error: io::Error| CliError::because(format!("{}: {error}", begun.display()));
    let kept = match (read(file)?, kernel.org_by_slug(SLUG).await?) {
        (Some(kept), Some(org)) if kept.org == org.id => Kept { endpoint, ..kept },
        (_, None) => {
            File::create(&begun).and_then(|mark| mark.sync_all()).map_err(wrong)?;
            let name = NewOrg { name: "Development".to_owned(), slug: Some(SLUG.to_owned()), ..NewOrg::default() };
            furnish(kernel, &kernel.create_org(name).await?, endpoint).await?
        }
        (_, Some(org)) if begun.exists() => furnish(kernel, &org, endpoint).await?,
        (_, Some(_)) => {
            let data = kernel.config.data.display();
            return Err(CliError::because(format!(
                "{data} holds an organisation \"{SLUG}\" that the demo did not make: name another directory with --data"
            )));
        }
    };
    write(file, &kept)?;
    match std::fs::remove_file(&begun) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(wrong(error)),
        _ => Ok(kept),
    }
}

/// The people, the team and the number, as far as they are not there yet.
async fn furnish(kernel: &Kernel, org: &Org, endpoint: SocketAddr) -> Result<Kept, CliError> {
    let (customer, auth_token) = settler(kernel, org, CUSTOMER, "Customer").await?;
    let (agent, _) = settler(kernel, org, AGENT, "Agent").await?;
    let teams = calls::teams(kernel, &org.id).await.map_err(RecordError::Db)?;
    if !teams.iter().any(|team| team.number == TEAM) {
        let members = vec![AGENT.to_owned()];
        let team = NewTeam { name: "Service".to_owned(), number: TEAM.to_owned(), members, ..NewTeam::default() };
        calls::create_team(kernel, &org.id, team).await?;
    }
    calls::bind_number(kernel, &org.id, NUMBER, &Bound::Person(CUSTOMER.to_owned())).await?;
    let auth_token = auth_token.expose().to_owned();
    Ok(Kept {
        org: org.id.clone(),
        cloud_sid: org.cloud_sid.clone(),
        auth_token,
        phones: vec![customer, agent],
        endpoint,
    })
}

/// A person's phone and token; whoever is there already gets new ones, since nobody knows the old ones.
async fn settler(kernel: &Kernel, org: &Org, extension: &str, name: &str) -> Result<(Phone, Secret), CliError> {
    let there = calls::extensions(kernel, &org.id).await.map_err(RecordError::Db)?;
    let (sip, token) = match there.into_iter().find(|there| there.number == extension) {
        Some(there) => (
            Some(calls::renew_password(kernel, &org.id, extension).await?),
            kernel.create_person_token(&org.id, &there.person, "demo").await?,
        ),
        None => {
            let new = NewUser { name: name.to_owned(), extension: Some(extension.to_owned()), ..NewUser::default() };
            let made = calls::create_user(kernel, org, new).await?;
            (made.sip, made.auth_token)
        }
    };
    let sip = sip.ok_or_else(|| CliError::because(format!("{extension} has no phone")))?;
    Ok((Phone { user: sip.username, password: sip.password.expose().to_owned() }, token))
}

pub(super) fn read(file: &Path) -> Result<Option<Kept>, CliError> {
    match std::fs::read(file) {
        Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
            let file = file.display();
            CliError::because(format!("{file} is damaged ({error}): delete the directory to begin anew"))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(CliError::because(format!("{}: {error}", file.display()))),
    }
}

/// Replaces the file in one step: a demo that is killed keeps its secrets.
fn write(file: &Path, kept: &Kept) -> Result<(), CliError> {
    let part = file.with_extension("part");
    let written = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(&part)
        .and_then(|mut open| open.write_all(json!(kept).to_string().as_bytes()).and_then(|()| open.sync_all()))
        .and_then(|()| std::fs::rename(&part, file));
    written.map_err(|error| CliError::because(format!("{}: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use kernel::db::testing::TestDb;
    use kernel::{Clock, Config, Ids};

    use super::*;

    async fn house() -> (tempfile::TempDir, PathBuf, TestDb, Kernel) {
        let test = TestDb::sqlite().await;
        let folder = tempfile::tempdir().unwrap();
        let config = Config { data: folder.path().to_owned(), ..Config::default() };
        let kernel = Kernel::assemble(config, test.db.clone(), test.bus.clone(), Clock::system(), Ids::os()).unwrap();
        let file = folder.path().join("demo.json");
        (folder, file, test, kernel)
    }

    fn endpoint() -> SocketAddr {
        "127.0.0.1:4711".parse().unwrap()
    }

    #[tokio::test]
    async fn the_file_is_for_its_owner_alone_and_the_secrets_stay() {
        use std::os::unix::fs::PermissionsExt;
        let (_folder, file, _test, kernel) = house().await;
        let first = settle(&kernel, &file, endpoint()).await.unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let again = settle(&kernel, &file, "127.0.0.1:4712".parse().unwrap()).await.unwrap();
        assert_eq!((&again.auth_token, &again.phones), (&first.auth_token, &first.phones));
        assert_eq!(read(&file).unwrap().unwrap().endpoint.port(), 4712);
    }

    /// Killed after the organisation, after the first person, and after everything but the file.
    #[tokio::test]
    async fn a_demo_that_was_killed_at_its_start_goes_on() {
        for made in 0..3 {
            let (_folder, file, _test, kernel) = house().await;
            File::create(file.with_extension(BEGUN)).unwrap();
            let name = NewOrg { name: "Development".to_owned(), slug: Some(SLUG.to_owned()), ..NewOrg::default() };
            let org = kernel.create_org(name).await.unwrap();
            match made {
                0 => {}
                1 => drop(settler(&kernel, &org, CUSTOMER, "Customer").await.unwrap()),
                _ => drop(furnish(&kernel, &org, endpoint()).await.unwrap()),
            }
            let kept = settle(&kernel, &file, endpoint()).await.unwrap();
            assert_eq!(kept.org, org.id);
            assert_eq!(kept.phones.iter().map(|phone| phone.user.as_str()).collect::<Vec<_>>(), [CUSTOMER, AGENT]);
            assert!(kernel.authenticate(&kept.auth_token).await.unwrap().is_some());
            assert_eq!(calls::extensions(&kernel, &org.id).await.unwrap().len(), 2);
            assert_eq!(calls::teams(&kernel, &org.id).await.unwrap().len(), 1);
            assert!(!file.with_extension(BEGUN).exists());
        }
    }

    #[tokio::test]
    async fn an_organisation_of_somebody_elses_is_left_alone() {
        let (_folder, file, _test, kernel) = house().await;
        let name = NewOrg { name: "Ours".to_owned(), slug: Some(SLUG.to_owned()), ..NewOrg::default() };
        let org = kernel.create_org(name).await.unwrap();
        let refused = settle(&kernel, &file, endpoint()).await.unwrap_err().to_string();
        assert!(refused.contains("--data"), "{refused}");
        assert!(calls::extensions(&kernel, &org.id).await.unwrap().is_empty());
    }
}
