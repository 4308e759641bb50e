// Writes tests/unit/rules/schedules.jsonl: what robfig/cron v3.0.1, which Kubernetes reads schedules with, makes of them.
// Zones whose clocks change by half an hour or at midnight are left out: there it skips a day or runs on a wrong one.
//
//	cd tests/unit/rules/robfig && go run . > ../schedules.jsonl
package main

import (
	"encoding/json"
	"os"
	"time"

	"github.com/robfig/cron/v3"
)

type row struct {
	Schedule string   `json:"schedule"`
	TimeZone string   `json:"timeZone"`
	After    string   `json:"after"`
	Next     []string `json:"next"`
	Refused  bool     `json:"refused,omitempty"`
}

var zones = []string{"Etc/UTC", "Europe/Berlin", "America/New_York", "Australia/Sydney", "Asia/Kathmandu"}

var starts = []string{
	"2026-03-07T22:10:30Z", "2026-03-28T23:59:59Z", "2026-04-04T12:00:00Z", "2026-10-03T12:00:00Z", "2026-10-24T20:00:00Z",
	"2026-10-31T23:00:00Z", "2026-12-31T23:59:59Z",
}

var schedules = []string{
	"0 2 * * *", "30 2 * * *", "30 1 * * *", "*/15 * * * *", "*/20 1-3 * * *", "0 0 * * *", "0 0 1 * *", "15 10 31 * *",
	"0 0 29 2 *", "0 0 29 2 1", "0 9-17/2 * * MON-FRI", "0 0 1,15 * 3", "0 0 */2 * 1", "0 0 */1 * 1", "5/20 4 * * ?", "0 12 * JAN,jul sun",
	"59 23 31 12 *", "0 0 13 * 5", "@hourly", "@daily", "@midnight", "@weekly", "@monthly", "@yearly", "@annually", "00 02 * * 0",
	"0 0 31 2 *", "0 0 30 2,4 *",
}

var refused = []string{
	"0 2 * * 7", "60 * * * *", "* 24 * * *", "0 0 0 * *", "0 0 32 * *", "0 0 * 13 *", "0 0 * 0 *", "0 2 * *", "0 2 * * * *", "", "5-1 * * * *",
	"*/0 * * * *", "0 0 L * *", "0 0 * * 5#2", "a * * * *", "@reboot", "@every", "@every x", "0 0 * * FRI-MON", "1--2 * * * *", "1/2/3 * * * *",
}

func main() {
	var rows []row
	for _, text := range schedules {
		schedule, err := cron.ParseStandard(text)
		if err != nil {
			panic(text + err.Error())
		}
		for _, name := range zones {
			for _, start := range starts {
				rows = append(rows, follow(text, name, start, schedule))
			}
		}
	}
	for _, text := range refused {
		if _, err := cron.ParseStandard(text); err == nil {
			panic(text + " is not refused")
		}
		rows = append(rows, row{Schedule: text, Refused: true, Next: []string{}})
	}
	encoder := json.NewEncoder(os.Stdout)
	for _, one := range rows {
		if err := encoder.Encode(one); err != nil {
			panic(err)
		}
	}
}

func follow(text, name, start string, schedule cron.Schedule) row {
	zone, err := time.LoadLocation(name)
	if err != nil {
		panic(err)
	}
	at, _ := time.Parse(time.RFC3339, start)
	result := row{Schedule: text, TimeZone: name, After: start, Next: []string{}}
	for len(result.Next) < 3 {
		if at = schedule.Next(at.In(zone)); at.IsZero() {
			break
		}
		result.Next = append(result.Next, at.UTC().Format(time.RFC3339))
	}
	return result
}
