//! Rust types, JSON mapping, REST routes, the descriptor set and the OpenAPI document, all from the one proto package.

use std::path::PathBuf;

use rest_over_grpc::build as rest;

mod openapi;

const FILES: [&str; 6] = [
    "leadline/v1/tenants.proto",
    "leadline/v1/drills.proto",
    "leadline/v1/exports.proto",
    "leadline/v1/models.proto",
    "leadline/v1/predictions.proto",
    "leadline/v1/operations.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for watched in ["leadline", "google", "build"] {
        println!("cargo:rerun-if-changed={watched}");
    }
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("leadline.v1.bin"), &descriptors)?;
    tonic_prost_build::configure()
        .extern_path(".google.protobuf.Timestamp", "crate::wkt::Timestamp")
        .extern_path(".google.protobuf.Struct", "crate::wkt::Struct")
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .compile_fds(compiler.file_descriptor_set())?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .extern_path(".google.protobuf.Timestamp", "crate::wkt::Timestamp")
        .extern_path(".google.protobuf.Struct", "crate::wkt::Struct")
        .extern_path(".google.protobuf", "::pbjson_types")
        // A reader of JSON sees `"committed": false` rather than having to know that absent means false.
        .emit_fields()
        .build(&[".leadline"])?;
    let mut generator = rest::Generator::builder().build();
    generator.add_all(rest::ServiceDefinition::from_fds(&descriptors, &rest::DescriptorOptions::new().package("leadline"))?);
    generator.write(&out)?;
    let rendered = openapi::render(&descriptors)?;
    std::fs::write(out.join("openapi.json"), rendered.document)?;
    std::fs::write(out.join("rpcs.rs"), format!("&{:?}", rendered.rpcs))?;
    std::fs::write(out.join("accepting.rs"), format!("&{:?}", rendered.accepting))?;
    Ok(())
}
