"""What tests share: servers, factories, polling."""
