//! Which encryption client and server agree on, and TLS inside TDS, by hand.

use std::sync::Arc;

use logferry_mssql_standin::tds::{Encryption, Server};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::bare::{Bare, END};
use crate::server;

const OFF: u8 = 0;
const ON: u8 = 1;
const NOT_SUPPORTED: u8 = 2;
const REQUIRED: u8 = 3;

/// A client that trusts this certificate and no other.
fn trusting(certificate: &[u8]) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.to_vec().into()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    ClientConnection::new(Arc::new(config), name).expect("a client")
}

fn encrypt(bare: &mut Bare, server: &Server) {
    bare.encrypt(trusting(server.certificate())).expect("it was told to trust it");
}

#[tokio::test(flavor = "multi_thread")]
async fn client_and_server_agree_on_encryption() {
    for (server_says, client_says, answer) in [
        (Encryption::NotSupported, OFF, NOT_SUPPORTED),
        (Encryption::NotSupported, NOT_SUPPORTED, NOT_SUPPORTED),
        (Encryption::NotSupported, ON, NOT_SUPPORTED),
        (Encryption::Supported, OFF, OFF),
        (Encryption::Supported, ON, ON),
        (Encryption::Supported, NOT_SUPPORTED, NOT_SUPPORTED),
        (Encryption::Supported, REQUIRED, ON),
        (Encryption::Required, OFF, REQUIRED),
        (Encryption::Required, ON, ON),
        (Encryption::Required, NOT_SUPPORTED, REQUIRED),
    ] {
        let server = server(server_says).await;
        let (mut bare, answered) = Bare::connect(server.address(), client_says);
        let what = format!("server {server_says:?}, client {client_says}");
        assert_eq!(answered, answer, "{what}");
        match answer {
            OFF => {
                encrypt(&mut bare, &server);
                bare.send_login(4096);
                bare.decrypt();
                bare.is_logged_in();
            }
            ON | REQUIRED if client_says != NOT_SUPPORTED => {
                encrypt(&mut bare, &server);
                bare.log_in(4096);
            }
            NOT_SUPPORTED if client_says != ON => bare.log_in(4096),
            _ => {
                assert!(bare.message().is_empty(), "{what}: the connection goes on");
                continue;
            }
        }
        bare.works();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_has_signed_is_not_trusted_unasked() {
    let server = server(Encryption::Required).await;
    let other = self::server(Encryption::Required).await;
    let (mut bare, _) = Bare::connect(server.address(), ON);
    assert!(bare.encrypt(trusting(other.certificate())).is_err(), "the certificate of another server was trusted");
}

#[tokio::test(flavor = "multi_thread")]
async fn results_are_the_same_through_tls() {
    let server = server(Encryption::Supported).await;
    let read = |encryption| {
        let (mut bare, _) = Bare::connect(server.address(), encryption);
        if encryption == ON {
            encrypt(&mut bare, &server);
        }
        bare.log_in(32767);
        bare.batch(END, "SELECT * FROM numbers(5000)");
        bare.message()
    };
    let plain = read(NOT_SUPPORTED);
    assert!(plain.len() > 500_000);
    assert!(plain == read(ON), "TLS changed what came");
}
