//! SASL: who a client says to be before it opens (docs/contract.md §2.2).
//!
//! The anonymous mechanisms let everybody in, and tokens over CBS decide. `PLAIN` has the name and the key of a shared access policy,
//! and is as good as a token for the whole namespace that never expires. Its tests are in `tests/it/cbs.rs`.

use std::sync::Arc;

use fe2o3_amqp::acceptor::SaslAcceptor;
use fe2o3_amqp::acceptor::sasl_acceptor::SaslServerFrame;
use fe2o3_amqp_types::primitives::{Array, Symbol};
use fe2o3_amqp_types::sasl::{SaslCode, SaslInit, SaslOutcome, SaslResponse};
use secrecy::ExposeSecret;
use tokio::sync::watch;

use crate::auth::grants::Grants;
use crate::auth::sas::SharedAccessKey;
use crate::serve::broker::Broker;

const PLAIN: &str = "PLAIN";
/// In the order of the service.
const MECHANISMS: [&str; 3] = ["MSSBCBS", PLAIN, "ANONYMOUS"];

/// Lets the client of one connection in.
#[derive(Debug, Clone)]
pub(crate) struct Sasl {
    pub(crate) broker: Arc<Broker>,
    pub(crate) grants: watch::Sender<Grants>,
}

impl SaslAcceptor for Sasl {
    fn mechanisms(&self) -> Array<Symbol> {
        Array(MECHANISMS.map(Symbol::from).to_vec())
    }

    fn on_init(&mut self, init: SaslInit) -> SaslServerFrame {
        let is_let_in = match init.mechanism.as_str() {
            PLAIN => {
                let response = init.initial_response.as_deref().map_or(&[][..], Vec::as_slice);
                let is_known = is_key(response, &self.broker.keys);
                if is_known {
                    self.grants.send_modify(Grants::put_for_all);
                }
                is_known
            }
            mechanism => MECHANISMS.contains(&mechanism),
        };
        outcome(if is_let_in { SaslCode::Ok } else { SaslCode::Auth })
    }

    fn on_response(&mut self, _: SaslResponse) -> SaslServerFrame {
        outcome(SaslCode::Sys)
    }
}

/// Whether this is `authorization NUL name NUL key` with a key that is known (RFC 4616).
fn is_key(response: &[u8], keys: &[SharedAccessKey]) -> bool {
    let mut parts = response.splitn(3, |byte| *byte == 0).skip(1);
    let (Some(name), Some(given)) = (parts.next(), parts.next()) else { return false };
    keys.iter().any(|SharedAccessKey { name: known, key }| {
        known.as_bytes() == name && key.expose_secret().as_bytes() == given
    })
}

fn outcome(code: SaslCode) -> SaslServerFrame {
    SaslServerFrame::Outcome(SaslOutcome { code, additional_data: None })
}
