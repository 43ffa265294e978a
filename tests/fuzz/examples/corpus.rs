//! Writes all inputs of the targets to `FOLDER/TARGET/N` (`corpus write FOLDER`), or keeps those that are there (`corpus keep FOLDER`).
//! `libfuzzer/run` calls it.

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use logferry_fuzz::{TARGETS, corpus};

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: corpus write|keep FOLDER";
    let mut args = std::env::args_os().skip(1);
    let verb = args.next().ok_or(usage)?;
    let folder = PathBuf::from(args.next().ok_or(usage)?);
    for target in TARGETS {
        let of_target = folder.join(target.name);
        if verb == "write" {
            fs::create_dir_all(&of_target)?;
            for (number, input) in (target.seeds)().iter().chain(&corpus::kept(target.name)?).enumerate() {
                fs::write(of_target.join(format!("{number:04}")), input)?;
            }
        } else if verb == "keep" {
            let mut paths = fs::read_dir(&of_target)?.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>()?;
            paths.sort();
            let inputs = paths.iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
            fs::write(corpus::path(target.name), corpus::pack(&inputs))?;
        } else {
            return Err(usage.into());
        }
    }
    Ok(())
}
