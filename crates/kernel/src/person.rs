//! People: the members of an organisation.
//!
//! Invariant: mail addresses are unique in their organisation; an organisation's first person owns it unless said, and
//! its last owner stays one, whoever else changes people in the same moment.

use crate::args;
use crate::db::{DbError, Row, Tx, Write};
use crate::kernel::Kernel;
use crate::password;
use crate::record::{RecordError, check_email, check_name};
use crate::role::Role;
use crate::secret::Secret;

/// Label of the token that comes with a new person.
const FIRST_TOKEN: &str = "first";

crate::statements! {
    INSERT = "insert into person (id, org, name, email, role, password_hash, created_at) \
        values ($1, $2, $3, $4, $5, $6, $7)";
    BY_ID = "select id, org, name, email, role, version, created_at, disabled_at from person \
        where org = $1 and id = $2";
    BY_EMAIL = "select id, org, name, email, role, version, created_at, disabled_at from person \
        where org = $1 and email = $2";
    GIVE_EMAIL = "update person set email = $3, version = version + 1 where org = $1 and id = $2 and email is null";
    LIST = "select id, org, name, email, role, version, created_at, disabled_at from person \
        where org = $1 and id > $2 order by id limit $3";
    HAS_ANY = "select id from person where org = $1 limit 1";
    PASSWORD = "select id, password_hash from person where org = $1 and email = $2 and disabled_at is null";
    SET_PASSWORD = "update person set password_hash = $3, version = version + 1 where org = $1 and id = $2";
    SET_ROLE = "update person set role = $4, version = version + 1 where org = $1 and id = $2 and version = $3";
    DISABLE = "update person set disabled_at = $3, version = version + 1 \
        where org = $1 and id = $2 and disabled_at is null returning role";
    LOCK_ORG = "update org set id = id where id = $1";
    AN_OWNER = "select id from person where org = $1 and role = 'owner' and disabled_at is null limit 1";
}

/// A member of an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// `per_...`
    pub id: String,
    /// The organisation.
    pub org: String,
    /// Name for people.
    pub name: String,
    /// In lower case; unique in the organisation.
    pub email: Option<String>,
    /// What it may do.
    pub role: Role,
    /// For guarded changes.
    pub version: i64,
    /// UTC milliseconds.
    pub created_at: i64,
    /// UTC milliseconds; from then on no credential of it is good.
    pub disabled_at: Option<i64>,
}

/// What is needed to make a person.
#[derive(Debug, Clone, Default)]
pub struct NewPerson {
    /// Name for people.
    pub name: String,
    /// For sign-in and notices.
    pub email: Option<String>,
    /// Absent = owner for the organisation's first person, else member.
    pub role: Option<Role>,
    /// Absent = signs in by link only.
    pub password: Option<Secret>,
}

/// A person about to be made: commit `writes`, with more of one's own if they belong together, and it exists.
#[derive(Debug)]
pub struct PersonDraft {
    /// As it will be.
    pub person: Person,
    /// Its personal token, shown once.
    pub auth_token: Secret,
    /// What makes it.
    pub writes: Vec<Write>,
}

impl Kernel {
    /// Checks a new person and prepares its rows, without writing them.
    ///
    /// # Errors
    /// A field that is refused, or a mail address that is taken.
    pub async fn draft_person(&self, org: &str, new: NewPerson) -> Result<PersonDraft, RecordError> {
        let now_ms = self.clock.now_ms();
        let name = check_name(&new.name)?;
        let email = new.email.as_deref().map(check_email).transpose()?;
        if let Some(email) = &email
            && self.db.one(BY_EMAIL, args![org, email]).await?.is_some()
        {
            return Err(RecordError::Taken { field: "email", value: email.clone() });
        }
        let password_hash = match &new.password {
            Some(password) => Some(password::hash(&self.ids, password).await?),
            None => None,
        };
        let role = match new.role {
            Some(role) => role,
            None if self.db.one(HAS_ANY, args![org]).await?.is_none() => Role::Owner,
            None => Role::Member,
        };
        let person = Person {
            id: self.ids.new("per", now_ms),
            org: org.to_owned(),
            name,
            email,
            role,
            version: 1,
            created_at: now_ms,
            disabled_at: None,
        };
        let insert = Write::new(
            INSERT,
            args![&person.id, org, &person.name, person.email.clone(), role.as_str(), password_hash, now_ms],
        );
        let (auth_token, token_write) = self.draft_person_token(org, &person.id, FIRST_TOKEN);
        Ok(PersonDraft { person, auth_token, writes: vec![insert, token_write] })
    }

    /// Makes a person: itself and its personal token, shown once.
    ///
    /// # Errors
    /// A field that is refused, or a mail address that is taken.
    pub async fn create_person(&self, org: &str, new: NewPerson) -> Result<(Person, Secret), RecordError> {
        let draft = self.draft_person(org, new).await?;
        let email = draft.person.email.clone().unwrap_or_default();
        self.db.writer().commit(draft.writes).await.map_err(RecordError::taken("email", email))?;
        Ok((draft.person, draft.auth_token))
    }

    /// One person of the organisation.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when it has none of this id.
    pub async fn person(&self, org: &str, id: &str) -> Result<Person, RecordError> {
        let row = self.db.one(BY_ID, args![org, id]).await?;
        row.as_ref().map(read).transpose()?.ok_or_else(|| RecordError::not_found("person", id))
    }

    /// The people of the organisation in the order of their ids, from after `after` (`""` = from the start).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn people(&self, org: &str, after: &str, limit: i64) -> Result<Vec<Person>, RecordError> {
        let rows = self.db.all(LIST, args![org, after, limit]).await?;
        rows.iter().map(read).collect()
    }

    /// The person whose mail address and password these are.
    ///
    /// # Errors
    /// When the store or the hashing fails. Wrong ones are `None`, and take as long.
    pub async fn check_password(
        &self,
        org: &str,
        email: &str,
        password: &Secret,
    ) -> Result<Option<Person>, RecordError> {
        let row = self.db.one(PASSWORD, args![org, email.trim().to_lowercase()]).await?;
        let (id, stored) = match &row {
            Some(row) => (row.text("id")?, row.opt_text("password_hash")?),
            None => (String::new(), None),
        };
        if password::verify(stored, password).await? { Ok(Some(self.person(org, &id).await?)) } else { Ok(None) }
    }

    /// Sets a new password.
    ///
    /// # Errors
    /// A password that is refused, or a person that is not there.
    pub async fn set_password(&self, org: &str, id: &str, password: &Secret) -> Result<(), RecordError> {
        let hash = password::hash(&self.ids, password).await?;
        match self.db.run(SET_PASSWORD, args![org, id, hash]).await? {
            0 => Err(RecordError::not_found("person", id)),
            _ => Ok(()),
        }
    }

    /// Gives the person another role, in the version that was read.
    ///
    /// # Errors
    /// [`RecordError::Conflict`] when it was changed since; the field `role` when nobody would own the organisation.
    pub async fn set_role(&self, person: &Person, role: Role) -> Result<(), RecordError> {
        let mut tx = self.begin_of_people(&person.org).await?;
        if tx.run(SET_ROLE, args![&person.org, &person.id, person.version, role.as_str()]).await? == 0 {
            return Err(RecordError::Conflict);
        }
        if person.role == Role::Owner {
            keeps_an_owner(&mut tx, &person.org).await?;
        }
        tx.commit().await?;
        self.known.forget();
        Ok(())
    }

    /// Gives a mail address to a person who has none, so that he can sign in by a password.
    ///
    /// # Errors
    /// What is wrong with the address, that somebody of the organisation has it, or that the person has one.
    pub async fn give_person_email(&self, org: &str, id: &str, email: &str) -> Result<(), RecordError> {
        let email = check_email(email)?;
        let given =
            self.db.run(GIVE_EMAIL, args![org, id, &email]).await.map_err(RecordError::taken("email", email))?;
        if given == 0 { Err(RecordError::not_found("person without a mail address", id)) } else { Ok(()) }
    }

    /// Ends a membership: no credential of the person is good any more.
    ///
    /// # Errors
    /// [`RecordError::NotFound`] when the organisation has no such person, or it is disabled already; the field `role`
    /// when nobody would own the organisation.
    pub async fn disable_person(&self, org: &str, id: &str) -> Result<(), RecordError> {
        let mut tx = self.begin_of_people(org).await?;
        let disabled = tx.one(DISABLE, args![org, id, self.clock.now_ms()]).await?;
        let disabled = disabled.ok_or_else(|| RecordError::not_found("person", id))?;
        if disabled.text("role")? == Role::Owner.as_str() {
            keeps_an_owner(&mut tx, org).await?;
        }
        tx.commit().await?;
        self.known.forget();
        Ok(())
    }

    /// A transaction beside which no other one takes an owner away from the organisation.
    async fn begin_of_people(&self, org: &str) -> Result<Tx, RecordError> {
        let mut tx = self.db.begin().await?;
        tx.lock_row(LOCK_ORG, args![org]).await.map_err(|error| match error {
            DbError::Conflict => RecordError::not_found("organisation", org),
            error => error.into(),
        })?;
        Ok(tx)
    }
}

/// Refuses a change after which nobody owns the organisation; its transaction is not committed then.
async fn keeps_an_owner(tx: &mut Tx, org: &str) -> Result<(), RecordError> {
    match tx.one(AN_OWNER, args![org]).await? {
        Some(_) => Ok(()),
        None => Err(RecordError::invalid("role", "an organisation needs an owner: make somebody else one first")),
    }
}

fn read(row: &Row) -> Result<Person, RecordError> {
    let role = row.text("role")?;
    Ok(Person {
        id: row.text("id")?,
        org: row.text("org")?,
        name: row.text("name")?,
        email: row.opt_text("email")?,
        role: role.parse().map_err(|_| RecordError::invalid("role", role))?,
        version: row.int("version")?,
        created_at: row.int("created_at")?,
        disabled_at: row.opt_int("disabled_at")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::CredentialInfo;
    use crate::kernel::testing;
    use crate::org::NewOrg;
    use crate::principal::Principal;

    fn named(name: &str) -> NewPerson {
        NewPerson { name: name.into(), ..NewPerson::default() }
    }

    async fn org(kernel: &Kernel, name: &str) -> String {
        kernel.create_org(NewOrg { name: name.into(), ..NewOrg::default() }).await.unwrap().id
    }

    #[tokio::test]
    async fn the_first_person_owns_the_next_are_members() {
        for kernel in testing::each().await {
            let dev = org(&kernel, "dev").await;
            let (ann, token) = kernel.create_person(&dev, named("Ann")).await.unwrap();
            let (ben, _) = kernel.create_person(&dev, named("Ben")).await.unwrap();
            let eve = NewPerson { role: Some(Role::Auditor), ..named("Eve") };
            let (eve, _) = kernel.create_person(&dev, eve).await.unwrap();
            assert_eq!([ann.role, ben.role, eve.role], [Role::Owner, Role::Member, Role::Auditor]);
            let who = kernel.authenticate(token.expose()).await.unwrap().unwrap().principal;
            assert_eq!(who.person().map(AsRef::as_ref), Some(ann.id.as_str()));
            let all = kernel.people(&dev, "", 10).await.unwrap();
            assert_eq!(all.len(), 3);
            assert_eq!(kernel.people(&dev, &all[0].id, 1).await.unwrap(), all[1..2]);
        }
    }

    #[tokio::test]
    async fn a_mail_address_is_unique_in_its_organisation_only() {
        for kernel in testing::each().await {
            let (a, b) = (org(&kernel, "a").await, org(&kernel, "b").await);
            let ann = || NewPerson { email: Some("Ann@x.org".into()), ..named("Ann") };
            kernel.create_person(&a, ann()).await.unwrap();
            kernel.create_person(&b, ann()).await.unwrap();
            let (bob, _) = kernel.create_person(&b, named("Bob")).await.unwrap();
            assert!(kernel.give_person_email(&b, &bob.id, "ann@x.org").await.is_err(), "hers");
            kernel.give_person_email(&b, &bob.id, "Bob@x.org").await.unwrap();
            assert_eq!(kernel.person(&b, &bob.id).await.unwrap().email.as_deref(), Some("bob@x.org"));
            assert!(kernel.give_person_email(&b, &bob.id, "other@x.org").await.is_err(), "given once");
            let refused = kernel.create_person(&a, ann()).await.unwrap_err();
            assert_eq!(refused.to_string(), "email: \"ann@x.org\" is taken");
            // Two at once pass the look before the write; the unique key tells them apart.
            let late = kernel.draft_person(&a, named("Late")).await.unwrap();
            let mut writes = late.writes;
            writes[0].args[3] = "ann@x.org".into();
            assert!(kernel.db.writer().commit(writes).await.is_err());
            assert_eq!(kernel.people(&a, "", 10).await.unwrap().len(), 1, "nothing half-written");
        }
    }

    #[tokio::test]
    async fn passwords_open_and_disabled_people_stay_out() {
        for kernel in testing::each().await {
            let dev = org(&kernel, "dev").await;
            let ann =
                NewPerson { email: Some("ann@x.org".into()), password: Some("correct horse".into()), ..named("Ann") };
            let (ann, token) = kernel.create_person(&dev, ann).await.unwrap();
            let check = async |email: &str, password: &str| {
                kernel.check_password(&dev, email, &password.into()).await.unwrap().map(|p| p.id)
            };
            assert_eq!(check(" ANN@x.org", "correct horse").await, Some(ann.id.clone()));
            assert_eq!(check("ann@x.org", "wrong").await, None);
            assert_eq!(check("nobody@x.org", "correct horse").await, None);
            kernel.set_password(&dev, &ann.id, &"battery staple".into()).await.unwrap();
            assert_eq!(check("ann@x.org", "correct horse").await, None);

            assert!(kernel.authenticate(token.expose()).await.unwrap().is_some());
            let heir = NewPerson { role: Some(Role::Owner), ..named("Heir") };
            kernel.create_person(&dev, heir).await.unwrap();
            kernel.disable_person(&dev, &ann.id).await.unwrap();
            assert_eq!(check("ann@x.org", "battery staple").await, None);
            assert!(kernel.authenticate(token.expose()).await.unwrap().is_none());
        }
    }

    #[tokio::test]
    async fn another_organisation_sees_nobody() {
        for kernel in testing::each().await {
            let (a, b) = (org(&kernel, "a").await, org(&kernel, "b").await);
            let (ann, _) = kernel.create_person(&a, named("Ann")).await.unwrap();
            assert!(matches!(kernel.person(&b, &ann.id).await, Err(RecordError::NotFound { .. })));
            assert!(kernel.disable_person(&b, &ann.id).await.is_err());
            assert!(kernel.set_password(&b, &ann.id, &"battery staple".into()).await.is_err());
            assert!(kernel.create_person_token(&b, &ann.id, "x").await.is_err());
            assert!(kernel.people(&b, "", 10).await.unwrap().is_empty());
        }
    }

    #[tokio::test]
    async fn two_owners_who_demote_or_end_each_other_leave_one() {
        for kernel in testing::each().await {
            for ends in [false, true] {
                let dev = org(&kernel, "dev").await;
                let (ann, _) = kernel.create_person(&dev, named("Ann")).await.unwrap();
                let ben = NewPerson { role: Some(Role::Owner), ..named("Ben") };
                let (ben, _) = kernel.create_person(&dev, ben).await.unwrap();
                let step_down = async |person: &Person| match ends {
                    false => kernel.set_role(person, Role::Member).await,
                    true => kernel.disable_person(&dev, &person.id).await,
                };
                let (one, two) = tokio::join!(step_down(&ann), step_down(&ben));
                let refused: Vec<RecordError> = [one, two].into_iter().filter_map(Result::err).collect();
                assert!(matches!(&refused[..], [RecordError::Invalid { field: "role", .. }]), "{ends}: {refused:?}");
                let is_owner = |person: &&Person| person.role == Role::Owner && person.disabled_at.is_none();
                assert_eq!(kernel.people(&dev, "", 10).await.unwrap().iter().filter(is_owner).count(), 1);
            }
        }
    }

    #[tokio::test]
    async fn a_role_changes_at_once() {
        for kernel in testing::each().await {
            let dev = org(&kernel, "dev").await;
            kernel.create_person(&dev, named("Owner")).await.unwrap();
            let ann = NewPerson { role: Some(Role::Admin), ..named("Ann") };
            let (ann, token) = kernel.create_person(&dev, ann).await.unwrap();
            kernel.authenticate(token.expose()).await.unwrap().unwrap();
            kernel.set_role(&ann, Role::Agent).await.unwrap();
            assert!(matches!(kernel.set_role(&ann, Role::Owner).await, Err(RecordError::Conflict)));
            let who = kernel.authenticate(token.expose()).await.unwrap().unwrap().principal;
            assert!(matches!(who, Principal::Person { role: Role::Agent, .. }));
            let tokens: Vec<CredentialInfo> = kernel.person_tokens(&dev, &ann.id).await.unwrap();
            assert_eq!(tokens.len(), 1);
        }
    }
}
