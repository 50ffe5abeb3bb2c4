//! The HTTP requests of a run: a step's request in the words of the guarded client, and its answer in those of the
//! machine. Invariant: a request that was cancelled, or whose run is gone, is not answered.

use std::collections::HashMap;

use futures_util::future::{AbortHandle, Abortable};
use kernel::{Egress, EgressError, EgressRequest, EgressResponse};
use reqwest::Method;
use url::Url;

use super::machine::{Answer, HttpFailure, HttpRequest};

/// The requests of a run that are under way, by the machine's tokens.
pub(super) struct Asking {
    egress: Egress,
    under_way: HashMap<u64, AbortHandle>,
}

impl Asking {
    pub(super) fn by(egress: Egress) -> Self {
        Self { egress, under_way: HashMap::new() }
    }

    /// Sends a request; none = it was cancelled. Say [`Asking::done`] when the answer is there.
    pub(super) fn ask(
        &mut self,
        request: u64,
        what: HttpRequest,
    ) -> impl Future<Output = Option<(u64, Answer)>> + Send + use<> {
        let egress = self.egress.clone();
        let (handle, registration) = AbortHandle::new_pair();
        self.under_way.insert(request, handle);
        let sending = async move {
            let answer = match egress_request(what) {
                Ok(request) => answer_of(egress.send(request).await),
                Err(failure) => Answer::Failure(failure),
            };
            (request, answer)
        };
        let sending = Abortable::new(sending, registration);
        async move { sending.await.ok() }
    }

    pub(super) fn done(&mut self, request: u64) {
        self.under_way.remove(&request);
    }

    pub(super) fn cancel(&mut self, request: u64) {
        if let Some(handle) = self.under_way.remove(&request) {
            handle.abort();
        }
    }
}

/// Takes the request apart by name, so that a field that is forgotten here does not compile.
fn egress_request(what: HttpRequest) -> Result<EgressRequest, HttpFailure> {
    let HttpRequest { method, url, headers, body, timeout_ms } = what;
    let url = Url::parse(&url).map_err(|_| HttpFailure::Protocol)?;
    let method = Method::from_bytes(method.as_bytes()).map_err(|_| HttpFailure::Protocol)?;
    let mut request = EgressRequest::new(method, url);
    request.headers = headers;
    request.body = body.unwrap_or_default().into();
    request.timeout_ms = timeout_ms.into();
    Ok(request)
}

fn answer_of(result: Result<EgressResponse, EgressError>) -> Answer {
    match result {
        Ok(response) => {
            Answer::Response { status: response.status, body: String::from_utf8_lossy(&response.body).into_owned() }
        }
        Err(error) => Answer::Failure(match error {
            EgressError::Blocked { .. } => HttpFailure::Blocked,
            EgressError::Resolve { .. } => HttpFailure::Dns,
            EgressError::Connect(_) | EgressError::Busy => HttpFailure::Connect,
            EgressError::Tls(_) | EgressError::Authority(_) => HttpFailure::Tls,
            EgressError::Timeout => HttpFailure::Timeout,
            EgressError::TooLarge { .. } => HttpFailure::TooLarge,
            EgressError::Url(_) | EgressError::Header(_) | EgressError::Broken(_) | EgressError::Redirect => {
                HttpFailure::Protocol
            }
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_a_request_goes_out() {
        let what = HttpRequest {
            method: "PATCH",
            url: "https://crm.test/x?y=1".into(),
            headers: vec![("X-A".into(), "1".into())],
            body: Some("text".into()),
            timeout_ms: 2_500,
        };
        let request = egress_request(what).unwrap();
        assert_eq!((request.method.as_str(), request.url.as_str()), ("PATCH", "https://crm.test/x?y=1"));
        assert_eq!(request.headers, [("X-A".to_owned(), "1".to_owned())]);
        assert_eq!((&request.body[..], request.timeout_ms), (&b"text"[..], 2_500));
    }
}
