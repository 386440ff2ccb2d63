"""The schema of conf/: settings, launchers, validators, and building what `_target_` names."""
