"""The files of the page that runs a policy in a browser; `edgedqn.export.devices.browser.bundle` copies them."""
