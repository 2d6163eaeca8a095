//! Turns `schema/*.schema` into `$OUT_DIR/api.rs`: one struct per message part, its decoder, its
//! encoder, and the table of API keys and versions.
//!
//! ```text
//! schema/fetch.schema ── parse ──▶ schema::Api ── emit ──▶ pub mod fetch { Request, Response, … }
//! ```

mod emit;
mod parse;
mod schema;

use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-changed=schema");
    let apis = match load(&root.join("schema")) {
        Ok(apis) => apis,
        Err(sentence) => panic!("{sentence}"),
    };
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("api.rs"), emit::module(&apis)).expect("OUT_DIR is writable");
}

/// Every API of the folder, ordered by key.
fn load(folder: &Path) -> Result<Vec<schema::Api>, String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let mut apis = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.extension().is_some_and(|extension| extension == "schema") {
            let text = fs::read_to_string(&path).map_err(|error| error.to_string())?;
            apis.push(parse::api(&path.display().to_string(), &text)?);
        }
    }
    apis.sort_by_key(|api| api.key);
    Ok(apis)
}
