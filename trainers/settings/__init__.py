"""The groups of settings that a `TrainerConfig` is made of; `trainers.config` has them all."""
