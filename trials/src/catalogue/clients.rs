//! Stock clients, each against both views. A client whose toolchain is not here, or whose library
//! cannot be fetched, is skipped; one that cannot be built fails.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kcat;
use crate::command::{finish, need, run};
use crate::context::target_folder;
use crate::{Context, Launch, Outcome, Trouble, ensure, topics};

const RECORDS: usize = 2000;

/// A client program that can be run here.
struct Client {
    name: &'static str,
    command: Vec<String>,
}

pub(super) fn python(context: &Context) -> Outcome {
    round_trip(context, build_python()?)
}

/// Groups of confluent-kafka's consumers through both views, before and after `kill -9`.
pub(super) fn python_groups(context: &Context) -> Outcome {
    build_python()?;
    let python = format!("{}/bin/python", libraries("python")?);
    let script = sources("python").join("groups.py").display().to_string();
    let launch = Launch::new(context.server()?, &context.folder().join("data"), 2)?;
    let mut server = launch.start()?;
    for life in ["first", "second"] {
        for (view, address) in [("node", launch.node_view()), ("core", launch.core_view())] {
            let topic = format!("groups-{view}-{life}");
            let arguments = [&script, &address, &topic, "400"];
            let said = finish(Command::new("timeout").args(["120", &python]).args(arguments))?;
            ensure!(said.trim().ends_with("ok 400"), "{view}, {life} life: {said}");
        }
        server.kill()?;
        server = launch.start()?;
    }
    server.stop()?;
    Ok("groups shared, took over, committed, came back and were deleted through both views".into())
}

pub(super) fn javascript(context: &Context) -> Outcome {
    need(&["kcat"])?; // reads what kafkajs cannot
    round_trip(context, build_javascript()?)
}

pub(super) fn go(context: &Context) -> Outcome {
    round_trip(context, build_go()?)
}

pub(super) fn java(context: &Context) -> Outcome {
    round_trip(context, build_java()?)
}

/// Runs each client against each view of one server, and reads with kcat what it wrote.
fn round_trip(context: &Context, clients: Vec<Client>) -> Outcome {
    let launch = Launch::new(context.server()?, &context.folder().join("data"), 2)?;
    let server = launch.start()?;
    let second_reader = need(&["kcat"]).is_ok();
    for client in &clients {
        for (view, address) in [("node", launch.node_view()), ("core", launch.core_view())] {
            let topic = format!("{}-{view}", client.name);
            run_client(client, &address, &topic)?;
            if second_reader {
                kcat::check_numbered(&address, &topic, RECORDS)?;
            }
        }
    }
    server.stop()?;
    let names: Vec<&str> = clients.iter().map(|client| client.name).collect();
    let reader = if second_reader { "kcat" } else { "NOT kcat, which is not installed" };
    Ok(format!("{} wrote and read through both views; read again by {reader}", names.join(", ")))
}

fn run_client(client: &Client, address: &str, topic: &str) -> Outcome<()> {
    topics::create(address, topic, 2)?;
    let (program, arguments) = client.command.split_first().expect("a command has a program");
    let said = finish(Command::new("timeout").args(["120", program]).args(arguments).args([
        address,
        topic,
        &RECORDS.to_string(),
    ]))?;
    ensure!(said.trim().ends_with(&format!("ok {RECORDS}")), "{} said: {said}", client.name);
    Ok(())
}

fn sources(language: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("clients").join(language)
}

/// Where the libraries of a language are kept from one run to the next.
fn libraries(language: &str) -> Outcome<String> {
    let folder = target_folder().join("clients").join(language);
    std::fs::create_dir_all(&folder)?;
    Ok(folder.canonicalize()?.display().to_string())
}

/// Runs a package manager; a failure skips the trial: the registry may be out of reach.
fn fetch(command: &mut Command) -> Outcome<()> {
    let mut limited = Command::new("timeout");
    limited.arg("240").arg(command.get_program()).args(command.get_args());
    if let Some(folder) = command.get_current_dir() {
        limited.current_dir(folder);
    }
    let output = limited.output()?;
    if output.status.success() {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let last = complaint.lines().last().unwrap_or_default();
    Err(Trouble::Skipped(format!("{command:?} could not fetch the libraries: {last}")))
}

fn build_python() -> Outcome<Vec<Client>> {
    need(&["python3"])?;
    let environment = libraries("python")?;
    fetch(Command::new("python3").args(["-m", "venv", &environment]))?;
    let requirements = sources("python").join("requirements.txt");
    let pip = format!("{environment}/bin/pip");
    fetch(Command::new(pip).args(["install", "--quiet", "--requirement"]).arg(requirements))?;
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

fn build_javascript() -> Outcome<Vec<Client>> {
    need(&["node", "npm"])?;
    let folder = libraries("javascript")?;
    for file in ["package.json", "package-lock.json", "kafkajs.js"] {
        std::fs::copy(sources("javascript").join(file), Path::new(&folder).join(file))?;
    }
    fetch(Command::new("npm").args(["ci", "--silent", "--prefix", &folder]))?;
    let command = vec!["node".to_owned(), format!("{folder}/kafkajs.js")];
    Ok(vec![Client { name: "kafkajs", command }])
}

fn build_go() -> Outcome<Vec<Client>> {
    need(&["go"])?;
    let into = libraries("go")?;
    fetch(Command::new("go").args(["mod", "download"]).current_dir(sources("go")))?;
    let mut clients = Vec::new();
    for (name, package) in [("sarama", "./sarama"), ("franz-go", "./franz")] {
        let program = format!("{into}/{name}");
        let arguments = ["build", "-o", &program, package];
        finish(Command::new("go").args(arguments).current_dir(sources("go")))?;
        clients.push(Client { name, command: vec![program] });
    }
    Ok(clients)
}

fn build_java() -> Outcome<Vec<Client>> {
    need(&["javac", "mvn"])?;
    let classes = libraries("java")?;
    let list = format!("{classes}/classpath");
    let pom = sources("java").join("pom.xml").display().to_string();
    let output = format!("-Dmdep.outputFile={list}");
    fetch(Command::new("mvn").args([
        "-q",
        "-B",
        "-f",
        &pom,
        "dependency:build-classpath",
        &output,
    ]))?;
    let libraries = std::fs::read_to_string(&list)?;
    let source = sources("java").join("RoundTrip.java").display().to_string();
    run("javac", &["-d", &classes, "-cp", &libraries, &source])?;
    let path = format!("{classes}:{libraries}");
    let command = ["java", "-cp", &path, "RoundTrip"].map(str::to_owned).to_vec();
    Ok(vec![Client { name: "java", command }])
}
