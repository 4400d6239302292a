//! Parses the PTX files given and says what is wrong with them.

fn main() {
    let mut failed = 0;
    for file in std::env::args().skip(1) {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        match softcuda::Module::parse(&text) {
            Ok(m) => m.entries().for_each(|e| println!("{file}: {} {} barriers", e.name, m.barriers().len())),
            Err(e) => {
                failed += 1;
                println!("{file}: {e}");
            }
        }
    }
    std::process::exit((failed > 0) as i32);
}
