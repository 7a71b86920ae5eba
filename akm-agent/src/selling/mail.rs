//! Mail, by SMTP.
//!
//! TLS from the first byte or by STARTTLS, which is then required; in clear only to a server on this machine. The server is
//! the configuration's, the address its owner's, checked when it was stored; a text that could end a header is refused by
//! the library that writes the message.

use std::time::Duration;

use akm_core::error::{Error, Kind, Result};
use akm_core::host::Host;
use akm_core::provider::Outbound;
use akm_core::regular::{self, Links};
use data_encoding::HEXLOWER;
use lettre::message::{Mailbox, Message, header::ContentType};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{SmtpTransport, Transport};
use serde::Deserialize;

use super::Hidden;

/// The longest that a step of a delivery takes.
const TIMEOUT: Duration = Duration::from_secs(30);

/// `[mail]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Section {
    host: String,
    port: Option<u16>,
    security: Security,
    user: Option<String>,
    password: Option<Hidden>,
    from: String,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Security {
    Tls,
    Starttls,
    None,
}

/// A server that takes mail, and who it is from.
pub(super) struct Mail {
    transport: SmtpTransport,
    from: Mailbox,
}

/// Whether something was sent.
pub(super) enum Sent {
    /// It was, or never will be.
    Yes,
    /// It surely was not.
    No(Error),
    /// Nobody can tell.
    Perhaps(Error),
}

impl Mail {
    pub(super) fn new(section: Section, outbound: &Outbound) -> Result<Mail> {
        const BAD: Error = Error::new(
            Kind::InvalidInput,
            "the server or the sender of mail is not one",
        );
        let bad = || BAD.with_field("mail");
        let from: Mailbox = section.from.parse().map_err(|_| bad())?;
        let here = section
            .host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback());
        let (tls, port) = match section.security {
            Security::Tls => (Tls::Wrapper(parameters(&section.host, outbound)?), 465),
            Security::Starttls => (Tls::Required(parameters(&section.host, outbound)?), 587),
            Security::None if here => (Tls::None, 25),
            Security::None => {
                return Err(Error::new(
                    Kind::InvalidInput,
                    "mail goes in clear to a server on this machine only",
                )
                .with_field("mail"));
            }
        };
        let mut builder = SmtpTransport::builder_dangerous(&section.host)
            .tls(tls)
            .port(section.port.unwrap_or(port))
            .timeout(Some(TIMEOUT));
        match (section.user, section.password) {
            (Some(user), Some(password)) => {
                builder =
                    builder.credentials(Credentials::new(user, password.0.expose().to_owned()));
            }
            (None, None) => {}
            _ => return Err(bad()),
        }
        Ok(Mail {
            transport: builder.build(),
            from,
        })
    }

    /// A name that no other message has. Of the sender's domain: that of this machine is nobody's business.
    fn message_id(&self) -> String {
        let mut bytes = [0; 16];
        Host::real().random.fill(&mut bytes);
        format!("<{}@{}>", HEXLOWER.encode(&bytes), self.from.email.domain())
    }

    pub(super) fn send(&self, to: &str, subject: &str, text: &str) -> Sent {
        let message = to.parse().map_err(|_| ()).and_then(|to: Mailbox| {
            Message::builder()
                .message_id(Some(self.message_id()))
                .from(self.from.clone())
                .to(to)
                .subject(subject)
                .header(ContentType::TEXT_PLAIN)
                .body(text.to_owned())
                .map_err(|_| ())
        });
        let Ok(message) = message else {
            return Sent::Perhaps(Error::internal("a message could not be written"));
        };
        // What cannot be reached is tried again; what fails on the way is not, because it may have arrived.
        if !self.transport.test_connection().unwrap_or(false) {
            return Sent::No(Error::new(
                Kind::Unavailable,
                "the server of mail is not reached",
            ));
        }
        match self.transport.send(&message) {
            Ok(_) => Sent::Yes,
            Err(error) => {
                let refused =
                    Error::new(Kind::Provider, "the server of mail did not take a message");
                match error.is_transient() {
                    true => Sent::No(refused),
                    false => Sent::Perhaps(refused),
                }
            }
        }
    }
}

/// Largest file of certificates.
const MAX_CERTIFICATES: u64 = 1024 * 1024;

fn parameters(host: &str, outbound: &Outbound) -> Result<TlsParameters> {
    const BAD: Error = Error::new(
        Kind::InvalidInput,
        "the certificates for the server of mail cannot be used",
    );
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = &outbound.ca_file {
        let pem = regular::read(path, Links::Follow, MAX_CERTIFICATES)?.ok_or(BAD)?;
        builder = builder.add_root_certificate(Certificate::from_pem(&pem).map_err(|_| BAD)?);
    }
    builder.build().map_err(|_| BAD)
}
