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
    let address = |arguments: &[&str]| serve(arguments).settings.settings().api_server;
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
fn settings_are_what_was_typed() {
    let settings = serve(&[
        "--sidecar-image=registry.example/sidecar:1",
        "--also-accept-sidecar-image=registry.example/sidecar:0,registry.example/sidecar",
        "--sidecar-image-pull-policy=Never",
        "--sidecar-resources={requests: {cpu: 7m}}",
        "--sidecar-resource-bounds={requests: {cpu: 6m}, limits: {cpu: 8m}}",
        "--default-policy=allow",
        "--root-user=forbidden",
        "--kubernetes-version=1.35",
        "--api-audiences=a,b",
    ])
    .settings
    .settings();
    let cpu = |list: &alcove_contract::annotations::ResourceList| list.cpu.clone().unwrap().as_str().to_owned();
    assert_eq!(settings.sidecar_image, "registry.example/sidecar:1");
    assert!(settings.tolerated_images.iter().eq(["registry.example/sidecar", "registry.example/sidecar:0"]));
    assert_eq!(settings.sidecar_image_pull_policy, Some(PullPolicy::Never));
    assert_eq!(cpu(&settings.resources.defaults.requests), "7m");
    assert_eq!((cpu(&settings.resources.least), cpu(&settings.resources.most)), ("6m".to_owned(), "8m".to_owned()));
    assert_eq!(settings.default_policy, DefaultPolicy::Allow);
    assert_eq!(settings.root_user, RootUser::Forbidden);
    assert_eq!(settings.kubernetes_version, KubernetesVersion::new(1, 35));
    assert_eq!(settings.api_audiences.iter().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn an_image_that_no_kubelet_can_pull_is_refused_with_the_reason() {
    for flag in ["--sidecar-image=bad image", "--also-accept-sidecar-image=good,bad image"] {
        let refused = Cli::try_parse_from(["alcove-webhook", "serve", flag]).unwrap_err().to_string();
        assert!(refused.contains("no name of an image: \"bad image\""), "{refused}");
    }
}

#[test]
fn a_wrong_word_is_refused_with_the_words_there_are() {
    let refused = Cli::try_parse_from(["alcove-webhook", "serve", "--root-user", "perhaps"]).unwrap_err().to_string();
    assert!(refused.contains("known: allowed, forbidden"), "{refused}");
}
