//! Stock clients, each against both views.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::command::{finish, need, run};
use crate::{Context, Launch, Outcome, Server, Trouble, ensure, topics};

const RECORDS: usize = 2000;

/// A client program that can be run here.
struct Client {
    name: &'static str,
    command: Vec<String>,
}

/// Every client whose toolchain is present; the others are named.
pub(super) fn round_trip(context: &Context) -> Outcome {
    let launch = Launch::new(context.server()?, &context.folder().join("data"), 2)?;
    let server = launch.start()?;
    let views = [("node", launch.node_view()), ("core", launch.core_view())];
    let mut seen = Vec::new();
    match need(&["kcat"]) {
        Ok(()) => {
            for (view, address) in &views {
                kcat_all_codecs(context.folder(), address, view)?;
            }
            seen.push("kcat (4 codecs)".to_owned());
        }
        Err(trouble) => seen.push(format!("NOT kcat: {trouble}")),
    }
    for (name, build) in BUILDS {
        match build(context.folder()) {
            Ok(clients) => {
                for client in clients {
                    seen.push(client.name.to_owned());
                    for (view, address) in &views {
                        run_client(&client, address, view)?;
                    }
                }
            }
            Err(trouble) => seen.push(format!("NOT {name}: {trouble}")),
        }
    }
    end(server, &seen)
}

fn end(server: Server, seen: &[String]) -> Outcome {
    server.stop()?;
    Ok(seen.join(", "))
}

fn run_client(client: &Client, address: &str, view: &str) -> Outcome<()> {
    let topic = format!("{}-{view}", client.name);
    topics::create(address, &topic, 2)?;
    let (program, arguments) = client.command.split_first().expect("a command has a program");
    let said = finish(Command::new("timeout").args(["120", program]).args(arguments).args([
        address,
        topic.as_str(),
        &RECORDS.to_string(),
    ]))?;
    ensure!(said.trim().ends_with(&format!("ok {RECORDS}")), "{} said: {said}", client.name);
    Ok(())
}

type Build = fn(&Path) -> Outcome<Vec<Client>>;

const BUILDS: &[(&str, Build)] =
    &[("Python", build_python), ("Go", build_go), ("Java", build_java)];

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

fn build_python(folder: &Path) -> Outcome<Vec<Client>> {
    need(&["python3"])?;
    let environment = folder.join("venv").display().to_string();
    run("python3", &["-m", "venv", &environment])?;
    let requirements = sources("python").join("requirements.txt").display().to_string();
    let pip = format!("{environment}/bin/pip");
    run(&pip, &["install", "--quiet", "--disable-pip-version-check", "-r", &requirements])?;
    let client = |name, file| Client {
        name,
        command: vec![
            format!("{environment}/bin/python"),
            sources("python").join(file).display().to_string(),
        ],
    };
    Ok(vec![
        client("kafka-python", "kafka_python.py"),
        client("confluent-kafka", "confluent_kafka_python.py"),
    ])
}

fn build_go(folder: &Path) -> Outcome<Vec<Client>> {
    need(&["go"])?;
    let into = folder.join("go").display().to_string();
    std::fs::create_dir_all(&into)?;
    let (sarama, franz) = (format!("{into}/sarama"), format!("{into}/franz"));
    for (package, program) in [("./sarama", &sarama), ("./franz", &franz)] {
        let arguments = ["build", "-o", program, package];
        finish(Command::new("go").args(arguments).current_dir(sources("go")))?;
    }
    Ok(vec![
        Client { name: "sarama", command: vec![sarama] },
        Client { name: "franz-go", command: vec![franz] },
    ])
}

fn build_java(folder: &Path) -> Outcome<Vec<Client>> {
    need(&["javac", "mvn"])?;
    let classes = folder.join("java").display().to_string();
    std::fs::create_dir_all(&classes)?;
    let list = format!("{classes}/classpath");
    let pom = sources("java").join("pom.xml").display().to_string();
    let output = format!("-Dmdep.outputFile={list}");
    run("mvn", &["-q", "-B", "-f", &pom, "dependency:build-classpath", &output])?;
    let libraries = std::fs::read_to_string(&list)?;
    let source = sources("java").join("RoundTrip.java").display().to_string();
    run("javac", &["-d", &classes, "-cp", &libraries, &source])?;
    let path = format!("{classes}:{libraries}");
    let command = ["java", "-cp", &path, "RoundTrip"].map(str::to_owned).to_vec();
    Ok(vec![Client { name: "java", command }])
}

/// What a person does first: lines in, lines out; once per codec.
fn kcat_all_codecs(folder: &Path, address: &str, view: &str) -> Outcome<()> {
    let lines: String =
        (0..RECORDS).map(|number| format!("key {number}:value {number}\n")).collect();
    let file = folder.join(format!("lines-{view}"));
    std::fs::write(&file, &lines)?;
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("kcat-{view}-{codec}");
        topics::create(address, &topic, 1)?;
        let input = file.display().to_string();
        run(
            "timeout",
            &[
                "60", "kcat", "-q", "-b", address, "-t", &topic, "-P", "-z", codec, "-K:", "-l",
                &input,
            ],
        )?;
        let arguments =
            ["60", "kcat", "-q", "-b", address, "-t", &topic, "-C", "-e", "-o", "beginning", "-K:"];
        let read = Command::new("timeout").args(arguments).stdin(Stdio::null()).output()?;
        let said = String::from_utf8_lossy(&read.stderr);
        ensure!(read.status.success(), "kcat on {topic}: {}: {said}", read.status);
        if read.stdout != lines.as_bytes() {
            let why =
                format!("kcat read {} bytes of {} from {topic}", read.stdout.len(), lines.len());
            return Err(Trouble::failed(why));
        }
    }
    Ok(())
}
