#!/bin/sh
# The akm agent as a user of its own: programs that run as you cannot read its files, its memory or its configuration, and
# ask it through a socket of the group `akm`. Read this, then run it as root:  akm doctor --setup-system | sudo sh
set -eu

install -d -m 0755 /usr/local/lib/sysusers.d /etc/akm
cat > /usr/local/lib/sysusers.d/akm.conf <<'END'
@USERS@
END
systemd-sysusers /usr/local/lib/sysusers.d/akm.conf

# Not a copy in somebody's home: whoever may change the program is the agent.
install -m 0755 '@AGENT@' /usr/local/bin/akm-agent

cat > /etc/akm/config.toml <<'END'
[agent]
group = "akm"
END
chmod 0644 /etc/akm/config.toml

cat > /etc/systemd/system/akm-agent.socket <<'END'
@SOCKET@
END
cat > /etc/systemd/system/akm-agent.service <<'END'
@SERVICE@
END
systemctl daemon-reload
systemctl enable --now akm-agent.socket

# For each person:      usermod --append --groups akm NAME     (from the next login on)
# In each one's profile: export AKM_AGENT_SOCK=/run/akm/agent.sock
# Then:                  akm init --account NAME
