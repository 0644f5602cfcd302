//! The programs of the product, built the way they ship.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::stage::Stage;
use crate::state;

/// Statically linked release builds, fit for an image `FROM scratch`.
#[derive(Debug, Clone)]
pub struct Products {
    /// `alcove-webhook`.
    pub webhook: PathBuf,
    /// `alcove-sidecar`.
    pub sidecar: PathBuf,
}

impl Products {
    /// Builds both programs from the checkout; cargo shows its progress on stderr.
    pub fn build() -> Result<Self> {
        let stage = Stage::begin("release builds of alcove-webhook and alcove-sidecar");
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo
            .args(["build", "--release", "--package=alcove-webhook", "--package=alcove-sidecar"])
            .args(["--target", &target()])
            .current_dir(state::checkout())
            // Takes precedence over RUSTFLAGS, so the flags of whoever calls the tests do not end up in the product.
            .env("CARGO_ENCODED_RUSTFLAGS", "-Ctarget-feature=+crt-static")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let status = cargo.status().context("starting cargo")?;
        ensure!(status.success(), "the release build failed ({status}); its output is above");
        stage.done();
        Ok(Self::built())
    }

    /// What [`Products::build`] has left, for whoever comes after it: sources may have changed meanwhile, and a run of the
    /// tests is about one version.
    #[must_use]
    pub fn built() -> Self {
        let directory = target_directory().join(target()).join("release");
        Self { webhook: directory.join("alcove-webhook"), sidecar: directory.join("alcove-sidecar") }
    }
}

fn target() -> String {
    format!("{}-unknown-linux-gnu", std::env::consts::ARCH)
}

fn target_directory() -> PathBuf {
    let stated = std::env::var_os("CARGO_TARGET_DIR").map(|stated| state::checkout().join(stated));
    stated.unwrap_or_else(|| state::checkout().join("target"))
}
