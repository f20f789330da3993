//! Rust types, JSON mapping, REST routes and the descriptor set, all from the one proto package.

use std::path::PathBuf;

use rest_over_grpc::build as rest;

const FILES: [&str; 5] = [
    "leadline/v1/operations.proto",
    "leadline/v1/tenants.proto",
    "leadline/v1/exports.proto",
    "leadline/v1/models.proto",
    "leadline/v1/predictions.proto",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=leadline");
    println!("cargo:rerun-if-changed=google");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut compiler = protox::Compiler::new(["."])?;
    compiler.include_imports(true).include_source_info(true).open_files(FILES)?;
    let descriptors = compiler.encode_file_descriptor_set();
    std::fs::write(out.join("leadline.v1.bin"), &descriptors)?;
    tonic_prost_build::configure()
        .extern_path(".google.protobuf", "::pbjson_types")
        .compile_well_known_types(true)
        .compile_fds(compiler.file_descriptor_set())?;
    pbjson_build::Builder::new()
        .register_descriptors(&descriptors)?
        .extern_path(".google.protobuf", "::pbjson_types")
        .build(&[".leadline"])?;
    let mut generator = rest::Generator::builder().build();
    generator.add_all(rest::ServiceDefinition::from_fds(&descriptors, &rest::DescriptorOptions::new().package("leadline"))?);
    generator.write(&out)?;
    Ok(())
}
