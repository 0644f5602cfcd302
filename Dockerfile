# syntax=docker/dockerfile:1
# Both images hold one static program and what its libraries read: certificate authorities, name resolution, one user.
#
#   docker build --target webhook -t ghcr.io/alcove-dev/alcove-webhook:0.1.0 .
#   docker build --target sidecar -t ghcr.io/alcove-dev/alcove-sidecar:0.1.0 .
#
# The tests pack the same files without a container engine (tests/src/image.rs).

FROM rust:1.95-bookworm AS builder
WORKDIR /source
COPY . .
# glibc linked into the program: its resolver reads /etc/nsswitch.conf and needs only `files` and `dns`. An explicit target
# keeps these flags away from build scripts and procedural macros, which cannot be static.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/source/target \
    target="$(uname -m)-unknown-linux-gnu" && \
    RUSTFLAGS='-C target-feature=+crt-static' cargo build --locked --release --target "$target" \
        --package alcove-webhook --package alcove-sidecar && \
    mkdir /programs && cp "target/$target/release/alcove-webhook" "target/$target/release/alcove-sidecar" /programs/

FROM scratch AS webhook
LABEL org.opencontainers.image.title="alcove-webhook" \
      org.opencontainers.image.description="Admission webhook that delivers secrets from external stores to Pods" \
      org.opencontainers.image.source="https://github.com/alcove-dev/alcove" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /programs/alcove-webhook /alcove-webhook
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY image/passwd image/nsswitch.conf /etc/
USER 65532:65532
ENTRYPOINT ["/alcove-webhook"]

FROM scratch AS sidecar
LABEL org.opencontainers.image.title="alcove-sidecar" \
      org.opencontainers.image.description="Fetches the secrets of one Pod, writes them into its memory volumes and keeps them fresh" \
      org.opencontainers.image.source="https://github.com/alcove-dev/alcove" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /programs/alcove-sidecar /alcove-sidecar
COPY --from=builder /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY image/passwd image/nsswitch.conf /etc/
USER 65532:65532
ENTRYPOINT ["/alcove-sidecar"]
