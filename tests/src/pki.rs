//! Certificates of the node: one throw-away authority and what it issues.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd,
};

use crate::process;

/// An authority that signs what the node's programs need.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    directory: PathBuf,
}

/// The files of an issued certificate.
#[derive(Debug, Clone)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PKCS #8 PEM.
    pub key: PathBuf,
}

/// Who a certificate is about, in the words of Kubernetes: a user name and, maybe, a group.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    /// The organisation, which Kubernetes reads as a group; empty for none.
    pub group: &'a str,
    /// The common name, which Kubernetes reads as the user.
    pub user: &'a str,
}

impl Authority {
    /// Creates an authority whose files lie in `directory`.
    pub fn create(directory: &Path) -> Result<Self> {
        let mut params = parameters(Subject { group: "", user: "alcove-testkit" }, &[])?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages.clear();
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        let authority = Self { issuer, directory: directory.to_owned() };
        process::write(&authority.certificate(), authority.certificate_pem())?;
        Ok(authority)
    }

    /// The file with the authority's certificate.
    #[must_use]
    pub fn certificate(&self) -> PathBuf {
        self.directory.join("ca.crt")
    }

    /// The authority's certificate, PEM.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// Issues a certificate for servers and clients, for the names and addresses in `names`.
    pub fn issue(&self, file_name: &str, subject: Subject<'_>, names: &[&str]) -> Result<Issued> {
        let key = KeyPair::generate()?;
        let certificate = parameters(subject, names)?.signed_by(&key, &self.issuer);
        let certificate = certificate.with_context(|| format!("issuing the certificate of {}", subject.user))?;
        let issued = Issued {
            certificate: self.directory.join(format!("{file_name}.crt")),
            key: self.directory.join(format!("{file_name}.key")),
        };
        process::write(&issued.certificate, certificate.pem())?;
        process::write(&issued.key, key.serialize_pem())?;
        Ok(issued)
    }

    /// Generates the RSA pair that signs the tokens of ServiceAccounts; the certificate file holds the public key.
    pub fn token_signer(&self) -> Result<Issued> {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)?;
        let files = Issued { certificate: self.directory.join("sa.pub"), key: self.directory.join("sa.key") };
        process::write(&files.certificate, pair.public_key_pem())?;
        process::write(&files.key, pair.serialize_pem())?;
        Ok(files)
    }
}

fn parameters(subject: Subject<'_>, names: &[&str]) -> Result<CertificateParams> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    if !subject.group.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, subject.group);
    }
    params.distinguished_name.push(DnType::CommonName, subject.user);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    // Thrown away with the node, so the dates only have to lie around any clock.
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2090, 1, 1);
    Ok(params)
}
