//! `docs/config.md`, made from the table.

use std::fmt::Write;

use super::table::SETTINGS;

/// The page.
#[must_use]
pub fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for setting in SETTINGS {
        let default = match setting.default {
            "" => "–".to_owned(),
            text => format!("`{text}`"),
        };
        let (flag, variable) = (setting.flag(), setting.variable());
        writeln!(
            page,
            "| `{}` | `--{flag} {}` | `{variable}` | {default} | {} |",
            setting.key, setting.value, setting.help,
        )
        .expect("writing to a string never fails");
    }
    page
}

const INTRODUCTION: &str = "\
# Settings of `chiplog serve`

A setting is given by a flag, an environment variable or a TOML file (`--config FILE` or
`CHIPLOG_CONFIG`); a flag wins over the environment, the environment over the file. Unknown keys are
refused. Sizes are written as `64KiB`, `512MiB`, `1GiB` or plain bytes. A dot in a key is a section:

```toml
listen = \"127.0.0.1:9092\"

[journal]
bytes = \"1GiB\"
```

This page is made from the table in `server/src/config/table.rs`; after a change there, run
`UPDATE_DOCS=1 cargo test -p server docs`.

| key | flag | environment | default | meaning |
| --- | --- | --- | --- | --- |
";

#[cfg(test)]
mod tests {
    #[test]
    fn docs_config_md_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/config.md");
        let page = super::page();
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, &page).expect("the docs folder is writable");
        }
        let on_disk = std::fs::read_to_string(path).expect("docs/config.md exists");
        assert!(
            on_disk == page,
            "docs/config.md is stale: UPDATE_DOCS=1 cargo test -p server docs"
        );
    }
}
