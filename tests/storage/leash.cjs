// Ends this process when the one that started it has ended, however that came.
process.stdin.resume();
process.stdin.on("end", () => process.exit());
