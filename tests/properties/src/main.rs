//! Writes what fuzzers begin with: a directory for each target, a file for each input.

use alcove_properties::seeds;
use anyhow::{Context as _, Result};
use std::fs::{File, create_dir_all};
use std::io::Write as _;
use std::path::PathBuf;

fn main() -> Result<()> {
    let root = PathBuf::from(std::env::args_os().nth(1).context("name the directory to write to")?);
    let targets = [
        ("annotations", seeds::annotations()?),
        ("globs", seeds::globs()),
        ("resources", seeds::resources()?),
        ("reviews", seeds::reviews()?),
    ];
    for (target, inputs) in targets {
        let directory = root.join(target);
        create_dir_all(&directory)?;
        for (index, input) in inputs.iter().enumerate() {
            File::create(directory.join(format!("{index:03}")))?.write_all(input)?;
        }
    }
    Ok(())
}
