//! Keys, certificates and stores as `openssl` and `keytool` write them, made when the tests run.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub const PASSWORD: &str = "changeit";

pub struct Files {
    folder: PathBuf,
    /// `keytool` is on this machine.
    pub has_keytool: bool,
}

/// Made once for all tests of the process.
pub fn files() -> &'static Files {
    static FILES: OnceLock<Files> = OnceLock::new();
    FILES.get_or_init(make)
}

impl Files {
    #[track_caller]
    pub fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The certificate of a PEM file, as openssl writes it in DER.
    #[track_caller]
    pub fn der(&self, name: &str) -> Vec<u8> {
        self.run("openssl", &format!("x509 -in {name} -outform DER"))
    }

    #[track_caller]
    pub fn openssl(&self, arguments: &str) {
        self.run("openssl", arguments);
    }

    #[track_caller]
    fn keytool(&self, arguments: &str) {
        self.run("keytool", arguments);
    }

    /// Its standard output. Arguments are split at blanks.
    #[track_caller]
    fn run(&self, program: &str, arguments: &str) -> Vec<u8> {
        let output = Command::new(program).args(arguments.split_whitespace()).current_dir(&self.folder).output();
        let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
        assert!(output.status.success(), "{program} {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.join(name), text).unwrap();
    }

    fn join(&self, name: &str, parts: &[&str]) {
        let all: Vec<u8> = parts.iter().flat_map(|part| self.read(part)).collect();
        std::fs::write(self.folder.join(name), all).unwrap();
    }
}

fn make() -> Files {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("tls-material-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    let has_keytool = Command::new("keytool").arg("-help").output().is_ok();
    if !has_keytool {
        // Past the test's own capture, so that it is seen.
        let line = b"tls_material: keytool is not there (a JRE has it): stores that it writes are NOT tested\n";
        std::io::stderr().write_all(line).unwrap();
    }
    let files = Files { folder, has_keytool };
    certificates(&files);
    stores_of_openssl(&files);
    if has_keytool {
        stores_of_keytool(&files);
    }
    files
}

fn certificates(files: &Files) {
    files.write("ca.ext", "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n");
    files.write("leaf.ext", "subjectAltName=DNS:a.example,IP:10.0.0.1\n");
    files.openssl("req -x509 -newkey rsa:2048 -nodes -days 30 -subj /CN=root -keyout root.key -out root.pem");
    for (name, key, issuer, extensions) in [
        ("between", "rsa:2048", "root", "ca.ext"),
        ("leaf", "ec -pkeyopt ec_paramgen_curve:P-256", "between", "leaf.ext"),
        ("rsa", "rsa:2048", "between", "leaf.ext"),
        ("p384", "ec -pkeyopt ec_paramgen_curve:P-384", "between", "leaf.ext"),
        ("ed25519", "ed25519", "between", "leaf.ext"),
        ("weak", "rsa:1024", "between", "leaf.ext"),
    ] {
        files.openssl(&format!("req -newkey {key} -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"));
        files.openssl(&format!(
            "x509 -req -in {name}.csr -CA {issuer}.pem -CAkey {issuer}.key -CAcreateserial -days 30 -extfile {extensions} -out {name}.pem"
        ));
    }
    files.join("chain.pem", &["leaf.pem", "between.pem"]);
    files.join("chain-with-root.pem", &["leaf.pem", "between.pem", "root.pem"]);
    files.join("chain-backwards.pem", &["root.pem", "between.pem", "leaf.pem"]);
    files.join("all.pem", &["leaf.key", "leaf.pem", "between.pem"]);
    files.join("without-between.pem", &["leaf.pem", "root.pem"]);
}

fn stores_of_openssl(files: &Files) {
    let out = format!("-passout pass:{PASSWORD}");
    files.openssl(&format!("pkcs8 -topk8 -v2 aes256 -in leaf.key {out} -out encrypted.key"));
    files.openssl(&format!("pkcs8 -topk8 -scrypt -in leaf.key {out} -out scrypt.key"));
    files.openssl(&format!("pkcs8 -topk8 -v2 des3 -v2prf hmacWithSHA1 -in leaf.key {out} -out des3.key"));
    files.openssl(&format!("pkcs8 -topk8 -v1 PBE-SHA1-3DES -in leaf.key {out} -out pbes1.key"));
    files.openssl(&format!("pkcs8 -topk8 -v2 aes256 -iter 2000000 -in leaf.key {out} -out slow.key"));
    files.openssl(&format!("rsa -in rsa.key -traditional -aes256 {out} -out old.key"));
    files.openssl("rsa -in rsa.key -traditional -out pkcs1.key");
    files.openssl("ec -in leaf.key -out sec1.key");
    files.openssl("pkcs8 -topk8 -nocrypt -in leaf.key -outform DER -out leaf-key.der");
    files.openssl("x509 -in leaf.pem -trustout -addtrust serverAuth -out trusted.pem");
    let pair = "pkcs12 -export -name me -in leaf.pem -inkey leaf.key -certfile between.pem";
    files.openssl(&format!("{pair} {out} -out modern.p12"));
    files.openssl(&format!("{pair} {out} -legacy -out legacy.p12"));
    files.openssl(&format!("{pair} {out} -keypbe NONE -certpbe NONE -out clear.p12"));
    files.openssl(&format!("{pair} {out} -nomac -out nomac.p12"));
    files.openssl(&format!("pkcs12 -export -nokeys -in chain-with-root.pem {out} -out certificates.p12"));
    files.openssl(&format!("pkcs12 -export -inkey leaf.key -in leaf.pem {out} -iter 2000000 -out slow.p12"));
}

fn stores_of_keytool(files: &Files) {
    let from = format!("-importkeystore -noprompt -srckeystore modern.p12 -srcstorepass {PASSWORD}");
    let to = format!("-deststorepass {PASSWORD}");
    files.keytool(&format!("{from} -destkeystore key.jks -deststoretype JKS {to}"));
    files.keytool(&format!(
        "{from} -srcalias me -destalias me -destkeystore other-password.jks -deststoretype JKS {to} -destkeypass secret1"
    ));
    files.keytool(&format!("{from} -destkeystore key.jceks -deststoretype JCEKS {to}"));
    files.keytool(&format!("{from} -destkeystore keytool.p12 -deststoretype PKCS12 {to}"));
    files.keytool(&format!(
        "-J-Dkeystore.pkcs12.legacy=true {from} -destkeystore keytool-old.p12 -deststoretype PKCS12 {to}"
    ));
    for kind in ["JKS", "JCEKS", "PKCS12"] {
        for name in ["root", "between"] {
            files.keytool(&format!(
                "-importcert -noprompt -alias {name} -file {name}.pem -keystore trust.{kind} -storetype {kind} -storepass {PASSWORD}"
            ));
        }
    }
    // A key store with a trusted certificate besides.
    files.keytool(&format!("{from} -destkeystore both.p12 -deststoretype PKCS12 {to}"));
    files
        .keytool(&format!("-importcert -noprompt -alias root -file root.pem -keystore both.p12 -storepass {PASSWORD}"));
}
