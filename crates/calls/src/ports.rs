//! What voice asks of this floor, answered from the directory.
//!
//! Invariant: what a peer hears a 200 for is durable.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use kernel::args;
use voice::leg::PhoneId;
use voice::ports::{
    Binding, BindingChange, BoxFuture, Credential, LineIdentity, PortError, PortResult, Ports, Secret, TrunkConfig,
    TrunkState,
};

use crate::directory::Directory;
use crate::lines::LOCAL_SUFFIX;
use crate::{numbers, trunks};

kernel::statements! {
    /// An extension's own domain, when it is not its organisation's.
    IS_DOMAIN = "select domain from extension where domain = $1 limit 1";
    /// All trunks.
    ALL_TRUNKS = "select id, org, name, username, password_sealed, domain, register, ping, srtp from trunk order by org, position limit 10000";
    /// A trunk fares otherwise.
    TRUNK_STATE = "update trunk set state = $3, state_at = $4 where id = $1 and org = $2";
    /// An address is banned.
    BAN = "insert into ban (address, until_at, banned_at) values ($1, $2, $3)
        on conflict (address) do update set until_at = excluded.until_at, banned_at = excluded.banned_at";
}

impl Ports for Directory {
    fn credential<'a>(&'a self, domain: &'a str, username: &'a str) -> BoxFuture<'a, PortResult<Option<Credential>>> {
        Box::pin(async move { self.credential(domain, username).await.map_err(port_error) })
    }

    fn domain<'a>(&'a self, host: &'a str) -> BoxFuture<'a, PortResult<Option<String>>> {
        Box::pin(async move { self.domain_of(host).await })
    }

    fn bindings<'a>(&'a self, org: &'a str, extension: &'a str) -> BoxFuture<'a, PortResult<Vec<Binding>>> {
        Box::pin(std::future::ready(Ok(self.bindings(org, extension))))
    }

    fn change_bindings<'a>(
        &'a self,
        org: &'a str,
        extension: &'a str,
        change: BindingChange,
    ) -> BoxFuture<'a, PortResult<()>> {
        Box::pin(async move { self.change_bindings(org, extension, change).await.map_err(port_error) })
    }

    fn lost_connection<'a>(
        &'a self,
        org: &'a str,
        extension: &'a str,
        source: SocketAddr,
    ) -> BoxFuture<'a, PortResult<()>> {
        Box::pin(async move { self.lost_connection(org, extension, source).await.map_err(port_error) })
    }

    fn trunks(&self) -> BoxFuture<'_, PortResult<Vec<TrunkConfig>>> {
        Box::pin(async move { self.read_trunks().await })
    }

    fn number_owner<'a>(
        &'a self,
        orgs: &'a [Arc<str>],
        number: &'a str,
    ) -> BoxFuture<'a, PortResult<Option<Arc<str>>>> {
        Box::pin(async move {
            let Some(e164) = numbers::e164(number) else { return Ok(None) };
            self.refresh().await.map_err(port_error)?;
            for org in orgs {
                if self.public_number(org, &e164).await.map_err(port_error)?.is_some() {
                    return Ok(Some(org.clone()));
                }
            }
            Ok(None)
        })
    }

    fn may_reach(&self, host: &str, address: SocketAddr) -> bool {
        self.kernel.egress.permits(host, address)
    }

    fn trunk_state<'a>(&'a self, org: &'a str, trunk: &'a str, state: TrunkState) -> BoxFuture<'a, PortResult<()>> {
        Box::pin(async move {
            self.note_trunk(trunk, state);
            let now_ms = self.kernel.clock.now_ms();
            self.kernel.db.run(TRUNK_STATE, args![trunk, org, state.as_str(), now_ms]).await.map_err(port_error)?;
            Ok(())
        })
    }

    fn browser_phone(&self, line: &LineIdentity, phone: &PhoneId, online: bool) {
        self.browsers.note(line, phone, online);
    }

    fn banned(&self, addr: IpAddr, until_ms: i64) {
        let kernel = self.kernel.clone();
        self.kernel.tasks.spawn(async move {
            let now_ms = kernel.clock.now_ms();
            if let Err(error) = kernel.db.run(BAN, args![addr.to_string(), until_ms, now_ms]).await {
                tracing::warn!(%addr, %error, "a ban could not be noted");
            }
        });
    }
}

impl Directory {
    async fn domain_of(&self, host: &str) -> PortResult<Option<String>> {
        let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        let names = &self.kernel.config.sip_names;
        let is_server = host.parse::<IpAddr>().is_ok()
            || host == "localhost"
            || names.iter().any(|name| name.eq_ignore_ascii_case(&host));
        if is_server {
            return Ok(Some(String::new()));
        }
        if self.kernel.org_by_sip_domain(&host).await.map_err(port_error)?.is_some() {
            return Ok(Some(host));
        }
        if !host.ends_with(LOCAL_SUFFIX) {
            return Ok(None);
        }
        let row = self.kernel.db.one(IS_DOMAIN, args![&host]).await.map_err(port_error)?;
        Ok(row.map(|_| host))
    }

    async fn read_trunks(&self) -> PortResult<Vec<TrunkConfig>> {
        let rows = self.kernel.db.all(ALL_TRUNKS, Vec::new()).await.map_err(port_error)?;
        let targets = trunks::all_targets(&self.kernel.db).await.map_err(port_error)?;
        let mut trunks = Vec::with_capacity(rows.len());
        for row in &rows {
            let id = row.text("id").map_err(port_error)?;
            let own = targets.iter().filter(|(trunk, _)| *trunk == id).map(|(_, target)| target.clone());
            let sealed = row.opt_text("password_sealed").map_err(port_error)?;
            let password = sealed
                .map(|sealed| self.kernel.secrets.open_sealed(trunks::PASSWORD_PURPOSE, &sealed))
                .transpose()
                .map_err(port_error)?;
            trunks.push(TrunkConfig {
                org: row.text("org").map_err(port_error)?.into(),
                name: row.text("name").map_err(port_error)?,
                targets: own.collect(),
                username: row.opt_text("username").map_err(port_error)?,
                password: password.map(|password| Secret::new(password.expose())),
                domain: row.opt_text("domain").map_err(port_error)?,
                register: row.bool("register").map_err(port_error)?,
                ping: row.bool("ping").map_err(port_error)?,
                srtp: row.bool("srtp").map_err(port_error)?,
                id: id.into(),
            });
        }
        Ok(trunks)
    }
}

fn port_error(error: impl std::fmt::Display) -> PortError {
    PortError(error.to_string())
}
