//! `cargo xtask codegen`: turns `crates/protocol/proto` into committed Rust sources.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use heck::ToUpperCamelCase;
use prost_build::Module;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

/// Why code generation failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CodegenError {
    /// The .proto files could not be found.
    #[error("cannot list the .proto files in {folder}: {source}")]
    List {
        /// Folder with the .proto files.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A .proto file does not parse or resolve.
    #[error("proto files in {folder} do not compile: {source}")]
    Compile {
        /// Folder with the .proto files.
        folder: PathBuf,
        /// What the compiler said.
        source: Box<protox::Error>,
    },
    /// A generated file could not be written.
    #[error("cannot write generated code to {folder}: {source}")]
    Write {
        /// Folder of the generated files.
        folder: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

/// Regenerates every Rust file under `crates/protocol/src/generated`: one module for each .proto
/// file, which is one protobuf package, named as the file.
pub(crate) fn run() -> Result<(), CodegenError> {
    let protocol = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/protocol");
    let (proto, out) = (protocol.join("proto"), protocol.join("src/generated"));
    let files = proto_files(&proto).map_err(|source| CodegenError::List {
        folder: proto.clone(),
        source,
    })?;
    let descriptors = protox::compile(files, [&proto]).map_err(|source| CodegenError::Compile {
        folder: proto.clone(),
        source: Box::new(source),
    })?;
    write_modules(&descriptors, &out).map_err(|source| CodegenError::Write {
        folder: out.clone(),
        source,
    })
}

fn proto_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    files.retain(|file| {
        file.extension()
            .is_some_and(|extension| extension == "proto")
    });
    files.sort();
    Ok(files)
}

fn write_modules(descriptors: &FileDescriptorSet, out: &Path) -> io::Result<()> {
    let files = || descriptors.file.iter().filter(|file| !is_google(file));
    let modules = files()
        .map(|file| Ok((module_name(file), generate(descriptors, file)?)))
        .collect::<io::Result<Vec<_>>>()?;
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    for (name, code) in modules {
        fs::write(out.join(format!("{name}.rs")), format!("{HEADER}{code}"))?;
    }
    Ok(())
}

/// The code of one package. Types of other packages are named by their path in the crate, so that
/// the modules stay flat although packages lie in one another.
fn generate(descriptors: &FileDescriptorSet, file: &FileDescriptorProto) -> io::Result<String> {
    let mut config = prost_build::Config::new();
    config
        // Maps must encode in key order: a digest is a hash of the encoded bytes.
        .btree_map(["."])
        .bytes(["."])
        .service_generator(
            tonic_prost_build::configure()
                // Connections are dialled by the crates that know about sockets and TLS.
                .build_transport(false)
                .service_generator(),
        );
    let others = descriptors.file.iter().filter(|other| *other != file);
    for other in others.clone().filter(|other| !is_google(other)) {
        let messages = other.message_type.iter().map(|message| message.name());
        let enums = other.enum_type.iter().map(|choice| choice.name());
        for name in messages.chain(enums) {
            config.extern_path(
                format!(".{}.{name}", other.package()),
                format!(
                    "crate::{}::{}",
                    module_name(other),
                    name.to_upper_camel_case()
                ),
            );
        }
    }
    let module = |file: &FileDescriptorProto| Module::from_protobuf_package_name(file.package());
    // The other files are still needed, to know which traits their types have.
    let mut requests = vec![(module(file), file.clone())];
    requests.extend(others.map(|other| {
        let without_services = FileDescriptorProto {
            service: Vec::new(),
            ..other.clone()
        };
        (module(other), without_services)
    }));
    let mut code = config.generate(requests)?;
    Ok(code.remove(&module(file)).unwrap_or_default())
}

/// Whether the types come from `prost-types` and not from us.
fn is_google(file: &FileDescriptorProto) -> bool {
    file.package() == "google.protobuf"
}

fn module_name(file: &FileDescriptorProto) -> String {
    match file.name().trim_end_matches(".proto") {
        // LLB's package is called pb everywhere.
        "ops" => "pb".into(),
        name => name.into(),
    }
}

const HEADER: &str =
    "//! Generated by `cargo xtask codegen` from the .proto files; do not edit.\n\n";
