//! The admission webhook: TLS, watches, registration, certificates.
