//! Organisations: the tenants. Everything else belongs to one.
//!
//! Invariant: slug, cloud_sid, SIP domain and host name each lead to one organisation at most.

use crate::args;
use crate::db::Row;
use crate::kernel::Kernel;
use crate::org_settings::{self, OrgSettings};
use crate::record::{RecordError, check_name, is_host};

/// Longest slug, in characters.
const MAX_SLUG: usize = 40;
/// How many numbered slugs are tried when the name's own is taken.
const MAX_SLUG_TRIES: usize = 50;
/// Organisations read at once.
const PAGE: i64 = 1_000;
/// Bytes of chance in a cloud_sid.
const CLOUD_SID_BYTES: usize = 16;

crate::statements! {
    BY_ID = "select id, slug, name, cloud_sid, zone, sip_domain, host, settings, version from org where id = $1";
    BY_SLUG = "select id, slug, name, cloud_sid, zone, sip_domain, host, settings, version from org where slug = $1";
    BY_HOST = "select id, slug, name, cloud_sid, zone, sip_domain, host, settings, version from org \
        where host = $1 and host <> ''";
    BY_SIP_DOMAIN = "select id, slug, name, cloud_sid, zone, sip_domain, host, settings, version from org \
        where sip_domain = $1 and sip_domain <> ''";
    LIST = "select id, slug, name, cloud_sid, zone, sip_domain, host, settings, version from org \
        where slug > $1 order by slug limit $2";
    INSERT = "insert into org (id, slug, name, cloud_sid, zone, sip_domain, host, settings, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
}

/// One organisation.
#[derive(Debug, Clone, PartialEq)]
pub struct Org {
    /// `org_...`
    pub id: String,
    /// Name in URLs and on the command line; `cloud_id` of document 003.
    pub slug: String,
    /// Name for people.
    pub name: String,
    /// A public account number; `cloud_sid` of document 003, `accountSid` of media streams.
    pub cloud_sid: String,
    /// IANA time zone.
    pub zone: String,
    /// Domain of its phones; `""` = the server's own address.
    pub sip_domain: String,
    /// Host name under which its keyless pages stand; `""` = none.
    pub host: String,
    /// What its administrators decide.
    pub settings: OrgSettings,
    /// For guarded changes.
    pub version: i64,
}

/// What is needed to make an organisation.
#[derive(Debug, Clone, Default)]
pub struct NewOrg {
    /// Name for people.
    pub name: String,
    /// Absent = made from the name.
    pub slug: Option<String>,
    /// IANA time zone; absent = UTC.
    pub zone: Option<String>,
    /// Domain of its phones; absent = the server's own address.
    pub sip_domain: Option<String>,
    /// Host name of its keyless pages.
    pub host: Option<String>,
}

impl Kernel {
    /// Makes an organisation.
    ///
    /// # Errors
    /// A field that is refused, or a slug, domain or host that is taken.
    pub async fn create_org(&self, new: NewOrg) -> Result<Org, RecordError> {
        let now_ms = self.clock.now_ms();
        let name = check_name(&new.name)?;
        let slug = match &new.slug {
            Some(slug) => check_slug(slug)?,
            None => self.free_slug(&name).await?,
        };
        let sid = crate::secret::hex(&self.ids.bytes::<CLOUD_SID_BYTES>());
        let org = Org {
            id: self.ids.new("org", now_ms),
            slug,
            name,
            cloud_sid: format!("AC{sid}"),
            zone: check_zone(new.zone.as_deref().unwrap_or("UTC"))?,
            sip_domain: check_host("sip_domain", new.sip_domain.as_deref())?,
            host: check_host("host", new.host.as_deref())?,
            settings: OrgSettings::default(),
            version: 1,
        };
        let settings = org_settings::to_json(&org.settings)?;
        let taken = self.who_has(&org).await?;
        if let Some(error) = taken {
            return Err(error);
        }
        self.db
            .run(
                INSERT,
                args![
                    &org.id,
                    &org.slug,
                    &org.name,
                    &org.cloud_sid,
                    &org.zone,
                    &org.sip_domain,
                    &org.host,
                    settings,
                    now_ms
                ],
            )
            .await
            .map_err(RecordError::taken("slug", org.slug.clone()))?;
        Ok(org)
    }

    /// Names the field that another organisation has already. Two at once are told apart by the unique keys.
    async fn who_has(&self, org: &Org) -> Result<Option<RecordError>, RecordError> {
        let fields = [
            ("slug", BY_SLUG, &org.slug),
            ("sip_domain", BY_SIP_DOMAIN, &org.sip_domain),
            ("host", BY_HOST, &org.host),
        ];
        for (field, statement, value) in fields {
            if self.db.one(statement, args![value]).await?.is_some() {
                let value = value.clone();
                return Ok(Some(RecordError::Taken { field, value }));
            }
        }
        Ok(None)
    }

    /// The organisation of this id.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn org_by_id(&self, id: &str) -> Result<Option<Org>, RecordError> {
        self.read_org(BY_ID, id).await
    }

    /// The organisation of this slug.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn org_by_slug(&self, slug: &str) -> Result<Option<Org>, RecordError> {
        self.read_org(BY_SLUG, slug).await
    }

    /// The organisation whose keyless pages stand under this host name (without port).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn org_by_host(&self, host: &str) -> Result<Option<Org>, RecordError> {
        self.read_org(BY_HOST, &host.to_ascii_lowercase()).await
    }

    /// The organisation whose phones have this domain.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn org_by_sip_domain(&self, domain: &str) -> Result<Option<Org>, RecordError> {
        self.read_org(BY_SIP_DOMAIN, &domain.to_ascii_lowercase()).await
    }

    /// The organisation that the command line names by id or slug.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when there is none.
    pub async fn find_org(&self, id_or_slug: &str) -> Result<Org, RecordError> {
        if let Some(org) = self.org_by_id(id_or_slug).await? {
            return Ok(org);
        }
        self.org_by_slug(id_or_slug).await?.ok_or_else(|| RecordError::not_found("organisation", id_or_slug))
    }

    /// Every organisation of this server, by slug.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn orgs(&self) -> Result<Vec<Org>, RecordError> {
        let mut orgs: Vec<Org> = Vec::new();
        loop {
            let after = orgs.last().map_or("", |last| last.slug.as_str());
            let rows = self.db.all(LIST, args![after, PAGE]).await?;
            if rows.is_empty() {
                return Ok(orgs);
            }
            for row in &rows {
                orgs.push(read(row)?);
            }
        }
    }

    async fn read_org(&self, statement: &'static str, value: &str) -> Result<Option<Org>, RecordError> {
        self.db.one(statement, args![value]).await?.as_ref().map(read).transpose()
    }

    async fn free_slug(&self, name: &str) -> Result<String, RecordError> {
        let base = slug_of(name);
        for n in 1..=MAX_SLUG_TRIES {
            let slug = if n == 1 { base.clone() } else { format!("{base}-{n}") };
            if self.org_by_slug(&slug).await?.is_none() {
                return Ok(slug);
            }
        }
        Err(RecordError::Taken { field: "slug", value: base })
    }
}

fn read(row: &Row) -> Result<Org, RecordError> {
    Ok(Org {
        id: row.text("id")?,
        slug: row.text("slug")?,
        name: row.text("name")?,
        cloud_sid: row.text("cloud_sid")?,
        zone: row.text("zone")?,
        sip_domain: row.text("sip_domain")?,
        host: row.text("host")?,
        settings: row.json("settings")?,
        version: row.int("version")?,
    })
}

/// Small letters, digits and single hyphens between them.
fn check_slug(slug: &str) -> Result<String, RecordError> {
    let good = (1..=MAX_SLUG).contains(&slug.len())
        && slug
            .split('-')
            .all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
    if good {
        Ok(slug.to_owned())
    } else {
        Err(RecordError::invalid(
            "slug",
            format!("1 to {MAX_SLUG} small letters, digits and single hyphens, such as acme-support"),
        ))
    }
}

/// A slug from a name: what is neither letter nor digit becomes one hyphen.
fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    // Room for a number behind.
    slug.truncate(MAX_SLUG - 4);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() { "org".to_owned() } else { slug.to_owned() }
}

fn check_zone(zone: &str) -> Result<String, RecordError> {
    let zone = jiff::tz::TimeZone::get(zone)
        .map_err(|_| RecordError::invalid("zone", "an IANA time zone such as Europe/London"))?;
    Ok(zone.iana_name().unwrap_or("UTC").to_owned())
}

fn check_host(field: &'static str, host: Option<&str>) -> Result<String, RecordError> {
    let host = host.unwrap_or_default().to_ascii_lowercase();
    if host.is_empty() || is_host(&host) {
        Ok(host)
    } else {
        Err(RecordError::invalid(field, "a host name such as phone.example.org"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::testing;
    use proptest::prelude::*;

    #[tokio::test]
    async fn an_organisation_is_found_by_each_of_its_names() {
        for kernel in testing::each().await {
            let new = NewOrg {
                name: "Acme Support".into(),
                zone: Some("europe/london".into()),
                sip_domain: Some("Phones.Acme.test".into()),
                host: Some("help.acme.test".into()),
                ..NewOrg::default()
            };
            let org = kernel.create_org(new).await.unwrap();
            assert_eq!((org.slug.as_str(), org.zone.as_str()), ("acme-support", "Europe/London"));
            assert!(org.cloud_sid.starts_with("AC") && org.cloud_sid.len() == 34);
            let found = [
                kernel.org_by_id(&org.id).await.unwrap(),
                kernel.org_by_slug("acme-support").await.unwrap(),
                kernel.org_by_host("HELP.acme.test").await.unwrap(),
                kernel.org_by_sip_domain("phones.acme.test").await.unwrap(),
                Some(kernel.find_org(&org.id).await.unwrap()),
                Some(kernel.find_org(&org.slug).await.unwrap()),
                kernel.orgs().await.unwrap().pop(),
            ];
            assert!(found.iter().all(|found| found.as_ref() == Some(&org)), "{found:?}");
            assert_eq!(kernel.org_by_host("").await.unwrap(), None);
            assert!(matches!(kernel.find_org("nobody").await, Err(RecordError::NotFound { .. })));
        }
    }

    #[tokio::test]
    async fn a_name_twice_gets_a_number_a_slug_twice_is_refused() {
        for kernel in testing::each().await {
            let named = |slug: Option<&str>, host: Option<&str>| NewOrg {
                name: "Acme".into(),
                slug: slug.map(str::to_owned),
                host: host.map(str::to_owned),
                ..NewOrg::default()
            };
            assert_eq!(kernel.create_org(named(None, None)).await.unwrap().slug, "acme");
            assert_eq!(kernel.create_org(named(None, Some("a.test"))).await.unwrap().slug, "acme-2");
            let refused = kernel.create_org(named(Some("acme"), None)).await.unwrap_err();
            assert_eq!(refused.to_string(), "slug: \"acme\" is taken");
            let refused = kernel.create_org(named(None, Some("a.test"))).await.unwrap_err();
            assert_eq!(refused.to_string(), "host: \"a.test\" is taken");
        }
    }

    #[test]
    fn bad_fields_are_refused() {
        for bad in ["", "-a", "a-", "a--b", "A", "a b", "é", &"a".repeat(41)] {
            assert!(check_slug(bad).is_err(), "{bad}");
        }
        assert!(check_zone("Mars/Olympus").is_err() && check_zone("").is_err());
        assert!(check_host("host", Some("a b")).is_err() && check_host("host", Some("a.b:80")).is_err());
    }

    proptest! {
        #[test]
        fn every_name_gives_a_good_slug(name in "\\PC{0,80}") {
            prop_assert!(check_slug(&slug_of(&name)).is_ok());
        }
    }
}
