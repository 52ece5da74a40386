//! Certificates for tests: authorities, and who they sign, as files.
#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};

/// Somebody who signs.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate and its key, in two files.
#[derive(Debug, Clone)]
pub struct Signed {
    /// The file with the certificate.
    pub cert: PathBuf,
    /// The file with the key.
    pub key: PathBuf,
}

impl Authority {
    /// One of that name, which has signed itself.
    ///
    /// # Panics
    /// When there is no randomness.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.self_signed(&key).expect("it can sign").pem();
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.certificate
    }

    /// Writes its own certificate.
    ///
    /// # Panics
    /// When it can't be written.
    #[must_use]
    pub fn write(&self, path: PathBuf) -> PathBuf {
        fs::write(&path, &self.certificate).expect("a certificate can be written");
        path
    }

    /// Signs that somebody is reached by `names`, hosts or IP addresses, as a server and as a client, and writes it
    /// to `NAME.crt` and `NAME.key` of `folder`.
    ///
    /// # Panics
    /// When a name can be nobody's, or the files can't be written.
    #[must_use]
    pub fn sign(&self, names: &[&str], folder: &Path, name: &str) -> Signed {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("the names can be somebody's");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let key = KeyPair::generate().expect("a key can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("it can sign");
        let signed = Signed {
            cert: folder.join(format!("{name}.crt")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&signed.cert, certificate.pem()).expect("a certificate can be written");
        fs::write(&signed.key, key.serialize_pem()).expect("a key can be written");
        signed
    }
}
