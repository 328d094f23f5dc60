//! Keys of every signature algorithm, made once per run: the scripts sign, the broker verifies.
//!
//! Made by `fanwire::auth::mint`, as an operator makes them, so that the libraries of the clients
//! also judge its files. A script finds `ES512.key` and so on in the folder `FANWIRE_KEYS`.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use fanwire::auth::mint;
use fanwire::model::token::Algorithm;

/// The folder with the keys.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-keys");
        fs::create_dir_all(&folder).expect("the directory for temporary files takes one more");
        for algorithm in Algorithm::ALL {
            let made = mint::generate(algorithm).expect("the system has random bits");
            let write = |extension: &str, text: &str| {
                let name = format!("{}.{extension}", algorithm.name());
                fs::write(folder.join(name), text).expect("a small file can be written");
            };
            write("key", &made.private.0);
            write("pub", made.public.as_deref().unwrap_or(&made.private.0));
        }
        folder
    })
}

/// `auth_keys` and `admin_keys` of one application, with every algorithm's key from its file.
pub(crate) fn of_files() -> String {
    let mut text = String::new();
    for list in ["auth_keys", "admin_keys"] {
        for algorithm in Algorithm::ALL.map(Algorithm::name) {
            let file = folder().join(format!("{algorithm}.pub"));
            let _ = write!(
                text,
                "[[applications.{list}]]\nsource = \"raw\"\nkey_file = \"{}\"\n\
                 algorithms = [\"{algorithm}\"]\n",
                file.display()
            );
        }
    }
    text
}

/// The same for a key set at `address`; secrets have no place in one.
pub(crate) fn of_provider(address: std::net::SocketAddr) -> String {
    let asymmetric = Algorithm::ALL.into_iter().filter(|algorithm| !algorithm.is_symmetric());
    let names: Vec<_> = asymmetric.map(Algorithm::name).collect();
    let key = |list: &str| {
        format!(
            "[[applications.{list}]]\nsource = \"jwks\"\n\
             jwks_uri = \"http://{address}/jwks.json\"\nalgorithms = {names:?}\n\
             allow_private_address = true\n"
        )
    };
    key("auth_keys") + &key("admin_keys")
}
