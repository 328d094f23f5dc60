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

/// Algorithms that share one key; the first says which kind is made.
const KINDS: [&[Algorithm]; 6] = [
    &[Algorithm::Hs512, Algorithm::Hs384, Algorithm::Hs256],
    &[
        Algorithm::Rs256,
        Algorithm::Rs384,
        Algorithm::Rs512,
        Algorithm::Ps256,
        Algorithm::Ps384,
        Algorithm::Ps512,
    ],
    &[Algorithm::Es256],
    &[Algorithm::Es384],
    &[Algorithm::Es512],
    &[Algorithm::EdDsa],
];

/// The folder with the keys.
pub(crate) fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clients-keys");
        fs::create_dir_all(&folder).expect("the directory for temporary files takes one more");
        for kind in KINDS {
            let made = mint::generate(kind[0]).expect("the system has random bits");
            for algorithm in kind.iter().copied().map(Algorithm::name) {
                let write = |extension: &str, text: &str| {
                    let file = folder.join(format!("{algorithm}.{extension}"));
                    fs::write(file, text).expect("a small file can be written");
                };
                write("key", &made.private.0);
                write("pub", made.public.as_deref().unwrap_or(&made.private.0));
            }
        }
        folder
    })
}

/// `auth_keys` and `admin_keys` of one application, with every key from its file.
pub(crate) fn of_files() -> String {
    let mut text = String::new();
    for list in ["auth_keys", "admin_keys"] {
        for kind in KINDS {
            let names: Vec<_> = kind.iter().copied().map(Algorithm::name).collect();
            let file = folder().join(format!("{}.pub", names[0]));
            let _ = write!(
                text,
                "[[applications.{list}]]\nsource = \"raw\"\nkey_file = \"{}\"\n\
                 algorithms = {names:?}\n",
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
