use std::time::Duration;

use clap::{CommandFactory as _, Parser as _};

use super::*;

fn serve(arguments: &[&str]) -> ServeArgs {
    let arguments = ["alcove-webhook", "serve"].iter().chain(arguments);
    match Cli::try_parse_from(arguments).unwrap().command {
        Command::Serve(serve) => *serve,
        Command::Review(_) => panic!("serve was asked for"),
    }
}

#[test]
fn the_definition_of_the_command_line_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_is_explained() {
    for command in Cli::command().get_subcommands() {
        for argument in command.get_arguments().filter(|argument| !argument.is_hide_set()) {
            assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
        }
    }
}

#[test]
fn serving_from_files_needs_a_certificate() {
    let parse = |rest: &[&str]| Cli::try_parse_from(["alcove-webhook", "serve", "--resources", "d"].iter().chain(rest));
    assert!(parse(&[]).unwrap_err().to_string().contains("--tls-cert"));
    assert!(parse(&["--tls-cert", "c"]).unwrap_err().to_string().contains("--tls-key"));
    assert!(parse(&["--tls-cert", "c", "--tls-key", "k"]).is_ok());
}

#[test]
fn the_api_server_is_that_of_the_service_unless_said_otherwise() {
    let address = |arguments: &[&str]| serve(arguments).settings.api_server();
    assert_eq!(address(&["--service-host", "10.0.0.1", "--service-port", "6443"]), "https://10.0.0.1:6443");
    assert_eq!(address(&["--service-host", "fd00::1", "--service-port", "443"]), "https://[fd00::1]:443");
    assert_eq!(
        address(&["--service-host", "10.0.0.1", "--kubernetes-api-server", "https://k8s.example:6443"]),
        "https://k8s.example:6443"
    );
}

#[test]
fn durations_are_read_as_people_write_them() {
    let read = |text: &str| text.parse::<Span>().map(Span::duration);
    assert_eq!(read("30s"), Ok(Duration::from_secs(30)));
    assert_eq!(read("1h30m"), Ok(Duration::from_mins(90)));
    assert_eq!(read("365d"), Ok(Duration::from_hours(365 * 24)));
    assert_eq!(read("0s"), Ok(Duration::ZERO));
    for wrong in ["", "5", "-5s", "1y", "soon"] {
        assert_eq!(read(wrong), Err(duration::NotASpan), "{wrong}");
    }
}

#[test]
fn versions_are_read_as_servers_and_nodes_report_them() {
    for text in ["1.35", "v1.35.0", "v1.35.2-gke.1", "1.35+"] {
        assert_eq!(text.parse(), Ok(KubernetesVersion { major: 1, minor: 35 }), "{text}");
    }
    for wrong in ["", "1", "v1", "latest", "1.x"] {
        assert_eq!(wrong.parse::<KubernetesVersion>(), Err(version::NotAVersion), "{wrong}");
    }
}
