//! Vault: its address, how TLS is verified, and the one way to log in.

use super::{Reader, check};
use alcove_contract::Problem;
use alcove_contract::provider::vault::{ClientCertificate, VaultConfiguration, VaultLogin};
use alcove_resources::store::{ClientTls, VaultAppRoleAuth, VaultAuth, VaultProvider, VaultUserPassAuth};

/// A namespace by another spelling, which servers resolve and whoever compares names does not.
fn wrong_namespace(namespace: &str) -> Option<Problem> {
    let is_other_spelling = |segment: &str| {
        matches!(segment, "" | "." | ".." | "root")
            || segment.contains(|letter: char| letter.is_whitespace() || letter.is_control())
    };
    namespace.trim_end_matches('/').split('/').any(is_other_spelling).then(|| {
        Problem::new("provider.vault.namespace", "has a segment that is empty, '.', '..', 'root' or has white space")
            .with_value(namespace)
            .with_remedy("write the namespace as in team-a/prod, and leave the field away for the root namespace")
    })
}

impl Reader<'_> {
    pub(super) fn vault(&mut self, provider: &VaultProvider) -> Option<VaultConfiguration> {
        let server = self.problems.collect(check::address_of_server(&provider.server, "provider.vault.server"));
        let bundle = provider.ca_bundle.as_deref();
        let authorities = bundle.map(|bundle| check::authorities(bundle, "provider.vault.caBundle")).transpose();
        let ca_bundle = self.problems.collect(authorities);
        let client_certificate = provider.tls.as_ref().map(|tls| self.client_certificate(tls));
        if provider.auth.cert.is_some() && provider.tls.is_none() {
            let reason = "is missing: cert auth logs in with its certificate";
            self.problems.push(Problem::new("provider.vault.tls", reason));
        }
        self.problems.extend(provider.namespace.as_deref().and_then(wrong_namespace));
        let login = self.login(&provider.auth);
        Some(VaultConfiguration {
            server: server?,
            namespace: provider.namespace.clone(),
            version: provider.version,
            ca_bundle: ca_bundle?,
            server_name: provider.server_name.clone(),
            client_certificate: client_certificate.flatten(),
            login: login?,
        })
    }

    /// The files of a client certificate; if there is none, a problem has been noted.
    fn client_certificate(&mut self, tls: &ClientTls) -> Option<ClientCertificate> {
        let certificate_file = self.credential(&tls.cert_secret_ref, "provider.vault.tls.certSecretRef");
        let key_file = self.credential(&tls.key_secret_ref, "provider.vault.tls.keySecretRef");
        Some(ClientCertificate { certificate_file: certificate_file?, key_file: key_file? })
    }

    fn login(&mut self, auth: &VaultAuth) -> Option<VaultLogin> {
        let ways = [
            auth.kubernetes.as_ref().map(|way| {
                let (mount, role) = (way.mount_path.clone(), way.role.clone());
                Some(VaultLogin::Kubernetes { mount, role, token_file: self.token() })
            }),
            auth.jwt.as_ref().map(|way| {
                let (mount, role) = (way.path.clone(), way.role.clone());
                Some(VaultLogin::Jwt { mount, role, token_file: self.token() })
            }),
            auth.app_role.as_ref().map(|way| self.app_role(way)),
            auth.user_pass.as_ref().map(|way| self.user_pass(way)),
            auth.cert.as_ref().map(|way| Some(VaultLogin::Cert { mount: way.path.clone(), name: way.name.clone() })),
            auth.token_secret_ref.as_ref().map(|selector| {
                let token_file = self.credential(selector, "provider.vault.auth.tokenSecretRef")?;
                Some(VaultLogin::Token { token_file })
            }),
        ];
        let mut stated = ways.into_iter().flatten();
        if let (Some(login), None) = (stated.next(), stated.next()) {
            return login;
        }
        let reason = "must state exactly one of: kubernetes, jwt, appRole, userPass, cert, tokenSecretRef";
        self.problems.push(Problem::new("provider.vault.auth", reason));
        None
    }

    fn app_role(&mut self, way: &VaultAppRoleAuth) -> Option<VaultLogin> {
        let secret_id_file = self.credential(&way.secret_ref, "provider.vault.auth.appRole.secretRef")?;
        Some(VaultLogin::AppRole { mount: way.path.clone(), role_id: way.role_id.clone(), secret_id_file })
    }

    fn user_pass(&mut self, way: &VaultUserPassAuth) -> Option<VaultLogin> {
        let password_file = self.credential(&way.secret_ref, "provider.vault.auth.userPass.secretRef")?;
        Some(VaultLogin::UserPass { mount: way.path.clone(), username: way.username.clone(), password_file })
    }
}
